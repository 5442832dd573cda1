"""A suite to build packages in: made once, never changed by a build, without a network while one runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = "/build"
"""Where a command finds the folder that it is given, always the same."""

_TOOLS = ("mmdebstrap", "unshare", "mount", "ip")
_ENTER = """
ip link set lo up
mount -t tmpfs none "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
cd "$SCRATCH/root"
mkdir -p ".$INSIDE"
mount --bind "$FOLDER" ".$INSIDE"
mount --rbind /dev dev
mount -t proc proc proc
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 TMPDIR=/tmp \\
    chroot . /bin/sh -euc 'cd "$0"; umask 022; eval "$1"' "$INSIDE" "$COMMAND"
"""


class ToolMissingError(RuntimeError):
    """Packages can't be built on this machine; the text says what is missing."""


def check_tools() -> None:
    """Raise `ToolMissingError` unless all is there that building needs."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ToolMissingError(f"{', '.join(missing)} missing: apt-get install mmdebstrap util-linux mount iproute2")
    if os.geteuid() != 0:
        raise ToolMissingError("root is needed to build packages: they are built in chroots of their suites")


def chroot(suite: str) -> Path:
    """The root of a suite with what the package's Build-Depends name, and lintian."""
    check_tools()
    packages = sorted({*build_depends((ROOT / "debian/control").read_text()), "lintian", "dpkg-dev", "fakeroot"})
    made = ROOT / "build/chroots" / f"{suite}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    if not made.is_dir():
        partial = made.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite, str(partial)],
            check=True,
        )
        partial.rename(made)
    return made


def build_depends(control: str) -> list[str]:
    """The packages that the text of debian/control names for building; what `dh-sequence-` stands for is debhelper."""
    found = re.search(r"^Build-Depends:(.*(?:\n .*)*)", control, re.MULTILINE)
    names = [part.split()[0] for part in (found[1] if found else "").split(",") if part.strip()]
    return [re.sub(r"^(debhelper-compat|dh-sequence-.*)$", "debhelper", name) for name in names]


def run(base: Path, folder: Path, command: str) -> None:
    """Run a shell command at `TREE`, where `folder` is, in a copy of the suite that is thrown away, without a network.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    check_tools()
    with tempfile.TemporaryDirectory(prefix="runqy-build-") as scratch:
        told = {"SCRATCH": scratch, "BASE": str(base), "FOLDER": str(folder), "INSIDE": TREE, "COMMAND": command}
        subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-euc", _ENTER],
            env={**os.environ, **told},
            check=True,
        )
