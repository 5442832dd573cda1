"""The worker's wheel, and those that it stands on, for the Python of a machine; fetched once, checked by hash."""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from host.rootfs import BUILD, ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = (
    *("certifi", "charset-normalizer", "hiredis", "idna", "msgspec", "nvidia-ml-py", "psutil", "pyyaml", "requests"),
    *("sdnotify", "urllib3"),
)
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
_BLOCK = re.compile(r"^(?P<name>[a-z0-9-]+)==[^\\\n]*(?:\\\n    --hash=[^\\\n]*)+", re.MULTILINE)
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_KEY_LENGTH = 12


def dependencies(suite: str) -> Path:
    """A directory of wheels for the suite's Python."""
    pinned = (ROOT / "requirements" / "runtime.txt").read_text()
    blocks = {found["name"]: found[0] for found in _BLOCK.finditer(pinned)}
    wanted = "\n".join(blocks[name] for name in RUNTIME) + "\n"
    key = hashlib.sha256(f"{suite}\n{wanted}".encode()).hexdigest()[:_KEY_LENGTH]
    path = BUILD / "wheels" / f"{suite}-{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _fetch(path.with_suffix(".new"), wanted, PYTHON[suite]).rename(path)
    return path


def own_wheel(directory: Path) -> Path:
    """This checkout as a wheel."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory), str(ROOT))
    (wheel,) = directory.glob("runqy_worker-*.whl")
    return wheel


def _fetch(directory: Path, requirements: str, python: str) -> Path:
    directory.mkdir(exist_ok=True)
    listed = directory / "requirements.txt"
    listed.write_text(requirements)
    platforms = (word for name in ("2_28", "2_17") for word in ("--platform", f"manylinux_{name}_x86_64"))
    _pip(
        *("download", "--no-deps", "--require-hashes", "--requirement", str(listed), "--dest", str(directory)),
        *("--implementation", "cp", "--python-version", python, *platforms),
    )
    for source in directory.glob("*.tar.gz"):  # pure Python without a wheel
        _pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(source))
        source.unlink()
    listed.unlink()
    return directory


def _pip(*args: str) -> None:
    done = subprocess.run([*_PIP, *args, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pip {args[0]} failed (exit code {done.returncode}):\n{done.stderr[-4000:]}")
