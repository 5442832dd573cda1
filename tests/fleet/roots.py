"""The root file system of the collection's test machines: that of the host tests, with what stands around a worker."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

from fleet.downloads import PINS, packages
from host.rootfs import BUILD, ROOT, rootfs

SITE = ROOT / "ansible/extensions/molecule/site"
"""Units, keys and task code of the Redis and the control server that run in each machine."""
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_KEY_LENGTH = 12
_UNUSED = 86400.0
"""Seconds after which a root that was made otherwise can go."""


def prepared(suite: str) -> Path:
    """The root of a suite; made now, which takes a minute, unless it is there."""
    base, wheels = rootfs(suite), packages(suite)
    key = hashlib.sha256(f"{base.name}\n{wheels.name}\n{_recipe()}".encode()).hexdigest()[:_KEY_LENGTH]
    path = BUILD / "rootfs" / f"fleet-{suite}-{key}"
    with (path.parent / f"fleet-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _remove_older(path, suite)
            _make(path, base, wheels)
    return path


def _remove_older(path: Path, suite: str) -> None:
    """Remove what no machine is likely to run on any more: other checkouts may share the directory."""
    for old in path.parent.glob(f"fleet-{suite}-*"):
        if old.is_dir() and old.stat().st_ctime < time.time() - _UNUSED:
            shutil.rmtree(old)


def _recipe() -> str:
    files = sorted(path for path in (SITE / "root").rglob("*") if path.is_file())
    return (SITE / "prepare.sh").read_text() + "".join(f"{path.name}\n{path.read_text()}" for path in files)


def _make(path: Path, base: Path, wheels: Path) -> None:
    new = path.with_suffix(".new")
    if new.exists():
        shutil.rmtree(new)
    subprocess.run(["cp", "--archive", "--one-file-system", str(base), str(new)], check=True)
    lay_out(new, wheels)
    names = new / "etc/resolv.conf"
    shutil.copyfile("/etc/resolv.conf", names)
    done = subprocess.run(
        ["chroot", str(new), "/bin/sh", "-eu", "/srv/prepare.sh"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    names.unlink()
    if done.returncode != 0:
        raise RuntimeError(f"{SITE / 'prepare.sh'} failed (exit code {done.returncode}):\n{done.stdout}{done.stderr}")
    new.rename(path)


def lay_out(target: Path, wheels: Path) -> None:
    """Put into a root file system what prepare.sh needs, and prepare.sh itself, which removes itself in the end."""
    (target / "srv").mkdir(parents=True, exist_ok=True)
    shutil.copytree(wheels, target / "srv/packages")
    shutil.copyfile(PINS, target / "srv/requirements.txt")
    shutil.copy(SITE / "prepare.sh", target / "srv")
    subprocess.run(["cp", "--recursive", "--no-preserve=ownership,mode", f"{SITE / 'root'}/.", str(target)], check=True)
    if _CERTIFICATES.exists():  # whom this host trusts, where packages are fetched through something that it knows
        authorities = target / _CERTIFICATES.relative_to("/")
        authorities.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_CERTIFICATES, authorities)
