#!/opt/runqy-worker/bin/python -I
"""Asks the worker in this container how it is: `healthcheck [/livez|/readyz|/startupz]`; exit code 0 when all is well.

It looks where RUNQY_HEALTH_ADDRESS says, else at the socket in RUNTIME_DIRECTORY.
"""

import os
import socket
import sys

PATIENCE = 8.0
"""Seconds, less than Docker waits."""


def main() -> int:
    """Ask, and print the answer."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/livez"
    address = os.environ.get("RUNQY_HEALTH_ADDRESS") or f"unix:{os.environ.get('RUNTIME_DIRECTORY')}/health.sock"
    try:
        with connect(address) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                head, _, body = answer.read().partition(b"\r\n\r\n")
    except (OSError, ValueError) as error:
        print(f"nothing answers at {address}: {error}")
        return 1
    print(body.decode(errors="replace").strip())
    return 0 if head.split()[1:2] == [b"200"] else 1


def connect(address: str) -> socket.socket:
    """A connection to `unix:PATH` or `HOST:PORT`."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), PATIENCE)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(address.removeprefix("unix:"))
    return connection


if __name__ == "__main__":
    sys.exit(main())
