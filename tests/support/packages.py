"""Tiny Python packages made by hand, so that tests install real ones without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = """
import base64, hashlib, os, zipfile

NAME, VERSION = {name!r}, {version!r}

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if {broken!r}:
        raise SystemExit("error: command 'gcc' failed: no compiler here")
    files = {{f"{{NAME}}/__init__.py": open(os.path.join(NAME, "__init__.py")).read()}}
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    files[f"{{info}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    files[f"{{info}}/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{{info}}/RECORD"] = "".join(f"{{name}},,\\n" for name in files)
    name = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""


def make_wheel(directory: Path, name: str, version: str = "1.0", *, requires: tuple[str, ...] = ()) -> Path:
    """A wheel whose module has `VERSION`."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for entry, text in files.items():
            wheel.writestr(entry, text)
    return path


def project_files(
    name: str, version: str = "1.0", *, broken: bool = False, body: str = ""
) -> dict[str, str | bytes | None]:
    """A source project that builds itself without downloading anything."""
    return {
        "pyproject.toml": (
            f'[project]\nname = "{name}"\nversion = "{version}"\n'
            '[build-system]\nrequires = []\nbuild-backend = "own_backend"\nbackend-path = ["."]\n'
        ),
        "own_backend.py": BACKEND.format(name=name, version=version, broken=broken),
        f"{name}/__init__.py": body or f"VERSION = {version!r}\n",
    }


def make_sdist(directory: Path, name: str, version: str = "1.0", *, broken: bool = False) -> Path:
    """A source distribution; a broken one fails as if it could not be compiled."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}.tar.gz"
    files = {**project_files(name, version, broken=broken)}
    files["PKG-INFO"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with tarfile.open(path, "w:gz") as archive:
        for entry, text in files.items():
            data = str(text).encode()
            info = tarfile.TarInfo(f"{name}-{version}/{entry}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
