"""Who this worker is."""

from __future__ import annotations

import os
import re
import socket

_UNSAFE = re.compile(r"[^a-zA-Z0-9._-]")


def make_worker_id(host: str | None = None) -> str:
    """`<host>:<pid>:<8 hex>`: unique for each start, safe in Redis key names and Lua patterns."""
    name = _UNSAFE.sub("-", host or socket.gethostname()) or "host"
    return f"{name}:{os.getpid()}:{os.urandom(4).hex()}"
