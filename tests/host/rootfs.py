"""Root file systems of Debian 12 and 13 with all that the tests need, made once and kept in build/rootfs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SUITES = ("bookworm", "trixie")
SYSTEMD = {"bookworm": 252, "trixie": 257}
ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("RUNQY_HOST_CACHE", ROOT / "build"))
"""Where root file systems and wheels are kept."""
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "procps", "iproute2"),
    *("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "git", "openssh-server", "openssh-client"),
    *("openssl", "ca-certificates", "redis-server", "bash-completion", "logrotate"),
)
MASKED = ("redis-server.service", "ssh.service", "ssh.socket", "apt-daily.timer", "apt-daily-upgrade.timer")
_FILES = {"etc/hostname": "machine", "etc/hosts": "127.0.0.1 localhost machine"}
_KEY_LENGTH = 12


def rootfs(suite: str) -> Path:
    """The root file system of a suite; made now, which takes about a minute, unless it is there."""
    recipe = "\n".join((suite, *PACKAGES, *MASKED, *_FILES, *_FILES.values()))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:_KEY_LENGTH]
    path = BUILD / "rootfs" / f"{suite}-{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _remove_older(path, suite)
            _make(suite, path)
    return path


def _make(suite: str, path: Path) -> None:
    new = path.with_suffix(".new")
    if new.exists():
        shutil.rmtree(new)
    done = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            f'--customize-hook=systemctl --root "$1" mask {" ".join(MASKED)}',
            *(f'--customize-hook=echo "{text}" >"$1/{file}"' for file, text in _FILES.items()),
            *(suite, str(new)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise RuntimeError(f"mmdebstrap could not make {suite} (exit code {done.returncode}):\n{done.stderr[-4000:]}")
    new.rename(path)  # complete only under its own name


def _remove_older(path: Path, suite: str) -> None:
    for old in path.parent.glob(f"{suite}-*"):
        shutil.rmtree(old)
