"""An instance's secrets: read from where the operator has them, and made ready for systemd's store."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.config.loading import load_with_origins
from runqy_worker.domain.errors import ConfigError
from runqy_worker.service.instances.places import ENCRYPTED, InstanceError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 1024 * 1024
"""Bytes that systemd allows for a unit's credentials."""
_TOOL = "systemd-creds"
_ENCRYPTING = 60.0


def read_credential(source: str) -> bytes:
    """The secret in a file, or in the standard input for `-`.

    Raises:
        ConfigError: It can't be read, or is too large.
    """
    where = "standard input" if source == "-" else source
    try:
        if source == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(
            (f"{where}: can't be read ({error.strerror}), expected a file that holds a secret",)
        ) from None
    if len(data) > LARGEST:
        raise ConfigError((f"{where}: is larger than 1 MiB, expected a file that holds a secret",))
    return data


def check_credentials(credentials: Mapping[str, bytes]) -> None:
    """Check their form, as the worker does when it starts.

    Raises:
        ConfigError: With every problem; no text shows anything of a secret.
    """
    with tempfile.TemporaryDirectory(prefix="runqy-credentials-") as directory:
        for name, data in credentials.items():
            path = Path(directory, name)
            path.touch(mode=0o600)
            path.write_bytes(data)
        load_with_origins("/dev/null", environ={"CREDENTIALS_DIRECTORY": directory}, partial=True)


def encrypt(name: str, data: bytes) -> bytes:
    """The credential, encrypted to this host (and its TPM, where it has one).

    Raises:
        InstanceError: systemd-creds is missing or failed.
    """
    command = [_TOOL, "encrypt", f"--name={name}{ENCRYPTED}", "-", "-"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=_ENCRYPTING)
    except FileNotFoundError:
        raise InstanceError("--encrypt: systemd-creds is missing, expected systemd 250 or newer") from None
    except subprocess.TimeoutExpired:
        raise InstanceError(f"--encrypt: systemd-creds did not end within {_ENCRYPTING:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise InstanceError(f"--encrypt: systemd-creds failed: {said or done.returncode}")
    return done.stdout
