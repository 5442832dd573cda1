"""Listens at a path: with exactly the rights asked for at any moment, and in the place of what a dead worker left."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ListenError

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 107
"""Bytes of a path that a socket's address has room for."""
BACKLOG = 64
"""Connections that may wait to be accepted."""
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end. Raises `OSError` where the system can't tell."""
    return Peer(*_CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that listens at a path.

    Attributes:
        socket: Non-blocking.
        path: Where it is.
        file: Device and inode of its file.
    """

    socket: socket.socket
    path: Path
    file: tuple[int, int]

    def remove(self) -> None:
        """Take the file away, unless somebody else's has its place by now."""
        with contextlib.suppress(OSError):  # gone with its directory: that is what was wanted
            if _identity(self.path) == self.file:
                self.path.unlink()


def bind(path: Path, mode: int, key: str) -> Bound:
    """Listen at `path`, whose directory exists.

    The socket is made in a directory that nobody else can enter and gets its name when all is set, so that there is no
    moment at which it has other rights than `mode`, or refuses those who connect. A socket at which nobody listens any
    more is replaced. Paths of any length will do (for those that connect there are limits, see `reachable`).

    Args:
        path: Absolute.
        mode: Permissions of the file.
        key: The setting that names the path, for errors.

    Raises:
        ListenError: Somebody else listens there, something else has the name, or the system refuses.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _refuse_the_living(path, key)
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:32]}-", dir=path.parent) as nursery:
            young = Path(nursery, "s")
            with reachable(young) as address:
                listening.bind(address)
            young.chmod(mode)
            listening.listen(BACKLOG)
            file = _identity(young)
            young.rename(path)
    except OSError as error:
        listening.close()
        raise ListenError(f"{key}: can't listen at {path}: {error.strerror or error}") from None
    except BaseException:
        listening.close()
        raise
    listening.setblocking(False)
    return Bound(listening, path, file)


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """The address to bind or to connect to, meanwhile: the path, or if that is too long, a way round by its directory.

    Raises:
        OSError: The directory can't be opened, or the name alone is too long.
    """
    if len(os.fsencode(path)) <= LONGEST:
        yield os.fspath(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _refuse_the_living(path: Path, key: str) -> None:
    """Raise unless the path is free, or has a socket at which nobody listens."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{key}: found {path}, which is no socket; expected a path where nothing is, or a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, reachable(path) as address:
        probe.setblocking(False)
        who = "another process"
        try:
            probe.connect(address)
            who = f"another process ({peer_of(probe).pid})"
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:  # so many want to be accepted there that we would have to wait
            pass
    raise ListenError(f"{key}: {who} listens at {path}; expected a path of this worker's own")


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
