"""Builds the Debian packages: `python packaging/deb.py [--suite trixie] [--twice]`, or `make deb`."""

from __future__ import annotations

import argparse
import fcntl
import filecmp
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deb_chroot import ToolMissingError, chroot, run
from deb_source import RELEASES, ROOT, source
from deb_wheels import wheels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deb_source import Source

NAME = "runqy-worker"
BUILT = ROOT / "build/deb"
_BUILD = "dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes --no-check-builddeps"
_LINT = "lintian --allow-root --fail-on=error,warning --tag-display-limit=0 ../*.changes"


def build(suite: str, revision: str = "", *, check: bool = True) -> Path:
    """The package for `suite` as the checkout is now; one that was built from the same files before is taken again.

    Args:
        suite: One of `RELEASES`.
        revision: Of this build, to have a newer one of the same version.
        check: Whether the tests must pass with a newly built one, and lintian have nothing to say about it.

    Raises:
        ToolMissingError: This machine can't build packages.
        subprocess.CalledProcessError: The build failed, its tests did, or lintian complains.
    """
    wanted = source(suite, revision)
    checked = BUILT / f"{suite}-{wanted.digest()}"
    folders = [checked] if check else [checked, BUILT / f"{checked.name}-unchecked"]
    with _alone():
        found = [package for folder in folders for package in folder.glob("*.deb")]
        return found[0] if found else _build(wanted, folders[-1], check=check)


def _build(wanted: Source, folder: Path, *, check: bool) -> Path:
    base, fetched = chroot(wanted.suite), wheels(wanted.suite)
    work = folder.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    tree = work / NAME
    wanted.copy(tree)
    shutil.copytree(fetched, tree / "wheels")
    command = f"{_BUILD} && {_LINT}" if check else f"DEB_BUILD_OPTIONS=nocheck {_BUILD}"
    run(base, work, f"cd {NAME} && {command}")
    folder.mkdir(parents=True, exist_ok=True)
    (package,) = work.glob("*.deb")
    kept = package.rename(folder / package.name)
    shutil.rmtree(work)
    return kept


def build_twice(suite: str) -> bool:
    """Whether a second build from the same files gives the same package, to the last bit."""
    first = build(suite)
    with _alone():
        wanted = source(suite)
        again = _build(wanted, BUILT / f"{suite}-again", check=False)
        return filecmp.cmp(first, again, shallow=False)


@contextmanager
def _alone() -> Iterator[None]:
    """One build at a time in this checkout; tests that run side by side ask for the same packages."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Build into dist/ and say what was built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", action="append", choices=RELEASES, help="only for this suite (repeatable)")
    parser.add_argument("--revision", default="", help="of this build, to have a newer one of the same version")
    parser.add_argument("--twice", action="store_true", help="build twice and compare")
    args = parser.parse_args()
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    try:
        for suite in args.suite or RELEASES:
            sys.stdout.write(f"{shutil.copy(build(suite, args.revision), dist)}\n")
            if args.twice and not build_twice(suite):
                sys.exit(f"deb: two builds for {suite} differ")
    except ToolMissingError as error:
        sys.exit(f"deb: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
