"""Where a daemon's lines go when no file is named."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from runqy_worker.telemetry import log_file

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_lines_go_to_the_system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    monkeypatch.setattr(log_file, "SYSTEM_LOG", "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind("log")
        system.settimeout(10)
        handler = log_file.daemon_handler(None, "auto")
        try:
            handler.emit(logging.LogRecord("runqy_worker", logging.ERROR, "", 0, "it broke", (), None))
        finally:
            handler.close()
        line = system.recv(1024)
    assert line.startswith(b"<27>runqy-worker[")
    assert line.rstrip(b"\0").endswith(b"]: it broke")
