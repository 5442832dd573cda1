"""Unix sockets with a path in the file system: made with the right permissions, and reached where the path is long."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_PATH = 107
"""Bytes that the kernel takes."""
BACKLOG = 16
_PROBE = 2.0
"""Seconds that another worker gets to accept a connection."""
_TURN = 0.05
_TURNS = 40
"""Looks, and seconds between them, while another worker makes a socket in the same directory."""
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


class UnixListener:
    """A listening socket and its file.

    Attributes:
        path: Where it is.
        socket: Listens; does not block.
    """

    def __init__(self, path: Path, listening: socket.socket) -> None:
        self.path = path
        self.socket = listening
        self._file = _identity(path)

    def close(self) -> None:
        """Listen no more. The file goes, unless it is another's by now."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._file:
                self.path.unlink()
        self.socket.close()


def listen(path: Path, *, mode: int) -> UnixListener:
    """Listen at `path`, in place of what a process that ended left there.

    Args:
        path: Its directory exists.
        mode: The file's permissions. It never has wider ones, and nobody is let in before it has these.

    Raises:
        ControlError: The path is taken (`busy`) or too long.
        OSError: The system refuses.
    """
    with _alone(path.parent), address_of(path) as address:
        _make_way(path, address)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(made.fileno(), mode)  # the file is made with these, less the umask
            made.bind(address)
            os.chmod(address, mode)  # noqa: PTH101 - the address may be in /proc
            made.listen(BACKLOG)
            made.setblocking(False)
            return UnixListener(path, made)
        except BaseException:
            made.close()
            raise


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """What to bind or connect to for `path`: itself, or where it is too long a name that holds meanwhile.

    Raises:
        ControlError: Even its last part is too long.
        OSError: Its directory can't be reached.
    """
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/self/fd/{directory}/{path.name}"
        if len(os.fsencode(address)) > LONGEST_PATH:
            raise ControlError(f"{path.name}: too long for the name of a socket", reason="failed")
        yield address
    finally:
        os.close(directory)


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end. Raises `OSError` where the system can't tell."""
    return Peer(*_CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))


def _make_way(path: Path, address: str) -> None:
    """Remove the socket of a process that ended."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ControlError(f"{path}: found a file that is no socket, expected none", reason="busy")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ControlError(f"{path}: found a socket, and can't tell whose it is: {error}", reason="busy") from error
        else:
            message = (
                f"{path}: another process ({peer_of(probe).pid}) listens there; expected it to be this worker's own"
            )
            raise ControlError(message, reason="busy")


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else makes a socket in this directory meanwhile: two would take each other's for one that was left."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for turn in range(_TURNS):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if turn == _TURNS - 1:
                    raise OSError(errno.EBUSY, "somebody holds a lock on it", str(directory)) from None
                time.sleep(_TURN)
        yield
    finally:
        os.close(fd)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
