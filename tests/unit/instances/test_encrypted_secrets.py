"""Secrets that are encrypted, by the real systemd-creds with a key of the test's own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.tools import missing, needed

from runqy_worker.service.instances.credentials import encrypt
from runqy_worker.service.instances.places import InstanceError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_encrypted_for_the_name_by_which_the_unit_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("systemd-creds", "apt-get install systemd")
    if os.geteuid() != 0:
        missing("systemd-creds encrypts for root only")
    monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(tmp_path / "secret"))
    subprocess.run(["systemd-creds", "setup"], check=True, capture_output=True)
    sealed = encrypt("api-key", b"k-secret")
    assert b"k-secret" not in sealed
    command = ["systemd-creds", "decrypt", "--name=api-key.encrypted", "-", "-"]
    opened = subprocess.run(command, input=sealed, check=True, capture_output=True)
    assert opened.stdout == b"k-secret"


def test_a_host_without_the_tool_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstanceError, match="systemd-creds is missing"):
        encrypt("api-key", b"k")


def test_what_the_tool_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "systemd-creds"
    tool.write_text("#!/bin/sh\necho 'no key' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InstanceError, match="systemd-creds failed: no key"):
        encrypt("api-key", b"k")
