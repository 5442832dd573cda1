"""Runs molecule scenarios, two at a time: `python -m fleet.run [SCENARIO...]`, or `make molecule`.

The driver comes from MOLECULE_DRIVER: `docker`, or `nspawn` for who is root on a machine that may boot others.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from deb_chroot import ToolMissingError
from fleet import artifacts, playing
from fleet.images import make_images, missing_tools
from host.needs import missing
from host.rootfs import ROOT, SUITES

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIOS = ROOT / "ansible/extensions/molecule"
LOGS = ROOT / "build/molecule"
AT_ONCE = 2
_NEEDS_PACKAGES = {"deb", "upgrade", "remove"}
_SHOWN = 120
_SHAPE = {"MOLECULE_COMMAND_BORDERS": "false", "COLUMNS": "160"}


def main() -> int:
    """Run them; returns the exit code."""
    known = sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))
    parser = argparse.ArgumentParser(prog="python -m fleet.run", description="Run molecule scenarios.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(known)}; all unless given")
    parser.add_argument("--keep", action="store_true", help="leave the machines running")
    args = parser.parse_args()
    if unknown := set(args.scenarios) - set(known):
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wanted = args.scenarios or known
    driver = os.environ.get("MOLECULE_DRIVER", "docker")
    with contextlib.ExitStack() as stack:
        environ = playing.environ() | stack.enter_context(_driver(driver)) | _artifacts(wanted)
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(lambda name: _run(name, driver, environ, keep=args.keep), wanted))
        print(f"molecule: {sum(results)} of {len(results)} passed in {time.monotonic() - began:.0f} s")
    return 0 if all(results) else 1


@contextlib.contextmanager
def _driver(driver: str) -> Iterator[dict[str, str]]:
    """Variables that the driver's machines need to be made."""
    if driver == "nspawn":
        if reasons := missing():
            raise SystemExit("machines can't be booted here: " + "; ".join(reasons))
        yield {}
    elif driver == "docker":
        if reasons := missing_tools():
            raise SystemExit("containers can't be run here: " + "; ".join(reasons))
        with make_images() as environ:
            yield environ
    else:
        raise SystemExit(f"MOLECULE_DRIVER: found {driver!r}, expected docker or nspawn")


def _artifacts(wanted: list[str]) -> dict[str, str]:
    """Variables that tell playbooks what to install."""
    wheel = artifacts.wheel()
    return {
        **({} if _NEEDS_PACKAGES.isdisjoint(wanted) else _packages()),
        "FLEET_SOURCE": str(artifacts.source()),
        "FLEET_WHEEL": str(wheel),
        "FLEET_WHEEL_SHA256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "FLEET_WHEEL_OLDER": str(artifacts.wheel(artifacts.OLDER)),
    }


def _packages() -> dict[str, str]:
    try:
        return {
            f"FLEET_DEB{revision and '_NEWER'}_{suite.upper()}": str(artifacts.package(suite, revision))
            for suite in SUITES
            for revision in ("", "1")
        }
    except ToolMissingError as error:
        raise SystemExit(f"{', '.join(sorted(_NEEDS_PACKAGES))} need the Debian package: {error}") from error


def _run(name: str, driver: str, environ: dict[str, str], *, keep: bool) -> bool:
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}-{driver}.log"
    own = {
        "MOLECULE_EPHEMERAL_DIRECTORY": str(LOGS / f"{name}-{driver}"),
        "MOLECULE_DRIVER": driver,
        "FLEET_LOG": str(log),
    }
    (LOGS / f"{name}-{driver}/tally.jsonl").unlink(missing_ok=True)
    began = time.monotonic()
    destroy = ["--destroy", "never"] if keep else []
    with log.open("w") as file:
        done = subprocess.run(
            ["molecule", "-c", str(SCENARIOS / "config.yml"), "test", "--scenario-name", name, *destroy],
            cwd=ROOT / "ansible",
            env=environ | _SHAPE | own,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    passed = done.returncode == 0
    taken = f"{time.monotonic() - began:.0f} s"
    print(f"{name} ({driver}): {'passed' if passed else 'FAILED'} in {taken}; {log}", flush=True)
    if not passed:
        print("\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN:]), flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
