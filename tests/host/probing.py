"""Asks an instance's health socket, as anybody on the host may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host.instance import Instance
    from host.machine import Machine

_ASK = """\
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
request = f"GET {sys.argv[2]} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
connection.sendall(request.encode())
sys.stdout.write(connection.makefile("rb").read().decode())
"""


def ask_health(machine: Machine, instance: Instance, path: str) -> str:
    """The whole answer to a GET, headers included."""
    socket = f"/run/runqy-worker/{instance.name}/health.sock"
    return machine.run("python3", "-c", _ASK, socket, path, user="git").stdout
