"""The images' base, made here: the root file system of the other host tests, and what stands in for PyTorch's image."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from host.rootfs import rootfs

if TYPE_CHECKING:
    from host.docker_daemon import DockerDaemon

BASE = "runqy-test/base"
TORCH = "2.1.0+cu118"
DOWNLOADS = "/opt/python-download"
INFERENCE_ARGUMENTS = {"PYTHON": "3.11", "UV_PYTHON_DOWNLOADS_JSON_URL": f"file://{DOWNLOADS}/list.json"}
"""Where the builder finds the daemon's Python, instead of on the internet."""

_SUITE = "bookworm"
_NEEDLESS = (
    "usr/include",
    "usr/lib/gcc",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
_PIP_FILES = {"/etc/pip.conf": "etc/pip.conf", "~/.config/pip/pip.conf": "root/.config/pip/pip.conf"}
_LEFT_OUT = ("__pycache__", "test", "config-*", "sitecustomize.py")


def make_base(docker: DockerDaemon, directory: Path) -> None:
    """Make the image `BASE`; `directory` is for its files."""
    root = rootfs(_SUITE)
    docker.load(root, f"{BASE}-system", *_NEEDLESS)
    files = directory / "files"
    _trust_whom_the_host_trusts(files)
    torch = files / "usr/lib/python3/dist-packages/torch/__init__.py"
    torch.parent.mkdir(parents=True)
    torch.write_text(f'__version__ = "{TORCH}"\n')
    _offer_python(root, files)
    environ = {"PIP_CERT": _CERTIFICATES} | {name: os.environ[name] for name in _PIP_VARIABLES if name in os.environ}
    recipe = [f"FROM {BASE}-system", "COPY files /", *(f'ENV {name}="{value}"' for name, value in environ.items())]
    (directory / "Dockerfile").write_text("\n".join(recipe) + "\n")
    docker.build(directory, BASE, file=directory / "Dockerfile")


def _trust_whom_the_host_trusts(files: Path) -> None:
    """The host's certificates and its settings for pip."""
    copies = {os.environ.get("PIP_CERT", _CERTIFICATES): _CERTIFICATES[1:], **_PIP_FILES}
    for source, target in copies.items():
        path = Path(source).expanduser()
        if path.exists():
            (files / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, files / target)


def _offer_python(root: Path, files: Path) -> None:
    """The Python of `root`, packed as uv wants one, and the list that leads uv to it."""
    target = files / DOWNLOADS[1:]
    target.mkdir(parents=True)
    archive = target / "python.tar.gz"
    excluded = (f"--exclude={name}" for name in _LEFT_OUT)
    (library,) = root.glob("usr/lib/python3.*")
    names = ("usr/bin/python3", f"usr/bin/{library.name}", f"usr/lib/{library.name}")
    command = ["tar", "-C", str(root), "-czf", str(archive), "--transform", "s#^usr#python#", *excluded, *names]
    subprocess.run(command, check=True)
    major, minor = (int(part) for part in library.name.removeprefix("python").split("."))
    machine = os.uname().machine
    version = {"major": major, "minor": minor, "patch": 0, "prerelease": "", "build": "0"}
    built_for = {"arch": {"family": machine, "variant": None}, "os": "linux", "libc": "gnu", "variant": None}
    source = {"url": f"file://{DOWNLOADS}/python.tar.gz", "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    entry = {"name": "cpython", **version, **built_for, **source}
    (target / "list.json").write_text(json.dumps({f"cpython-{major}.{minor}.0-linux-{machine}-gnu": entry}))
