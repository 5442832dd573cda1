"""Children that outlived a killed daemon: written down while they live, ended when the next daemon starts.

The kernel kills a child when its daemon dies, but not what the child has started. A process is only ended if it is
certain to be one of ours: same boot, same start time; or, once its leader is gone, member of the leader's own session
and group with the environment that the leader was given.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level
from runqy_worker.executors.groups import signal_group, start_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

    from runqy_worker.executors.notices import LimitedNotices

LINE = 160
"""Bytes of each line of a file, so that one can be written over another."""
_PREFIX = "children-"
_numbers = itertools.count(1)


class ChildRecords:
    """The live children of one executor, in a file of its own below the state directory.

    The file has a line for the daemon and one for each child; it is there while there are children. Writing a line over
    another takes some microseconds and needs no new room on the disk, so it is done on the event loop, at once.

    Args:
        state_dir: Where the file goes; None keeps no records.
        notices: Told when the file can't be written, which harms nothing else.
    """

    def __init__(self, state_dir: Path | None, notices: LimitedNotices) -> None:
        self._file = None if state_dir is None else state_dir / f"{_PREFIX}{os.getpid()}-{next(_numbers)}.jsonl"
        self._notices = notices
        self._fd = -1
        self._children: dict[int, tuple[int, bytes]] = {}
        self._free: list[int] = []

    def add(self, pid: int, env: Mapping[str, str]) -> None:
        """A child was started, as leader of its own session and process group."""
        if self._file is None:
            return
        number = self._free.pop() if self._free else len(self._children) + 1
        line = _line({"pid": pid, "started": start_time(pid), "path": _mark(env)})
        self._children[pid] = (number, line)
        try:
            if self._fd < 0:
                self._open(self._file)
            else:
                os.pwrite(self._fd, line, number * LINE)
        except OSError as error:
            self._failed(self._file, error)

    def remove(self, pid: int) -> None:
        """It is gone, and so is its group."""
        if pid not in self._children or self._file is None:
            return
        number, _ = self._children.pop(pid)
        self._free.append(number)
        try:
            if not self._children:
                self._free.clear()
                self._close(self._file)
            elif self._fd >= 0:
                os.pwrite(self._fd, _line(None), number * LINE)
        except OSError as error:
            self._failed(self._file, error)

    def _open(self, file: Path) -> None:
        """Make the file, which is complete from the moment on that it has its name."""
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            owner = _line({"pid": os.getpid(), "started": start_time(os.getpid()), "boot": _boot_id()})
            for number, line in ((0, owner), *self._children.values()):
                os.pwrite(fd, line, number * LINE)
            new.replace(file)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _close(self, file: Path) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            file.unlink(missing_ok=True)

    def _failed(self, file: Path, error: OSError) -> None:
        message = f"live processes can't be written down, so a killed worker may leave some behind: {error}"
        self._notices.emit("child_records_failed", message, Level.WARNING, file=str(file))


def _line(content: Mapping[str, object] | None) -> bytes:
    text = b"" if content is None else json.dumps(content).encode()
    return text.ljust(LINE - 1) + b"\n"


def _mark(env: Mapping[str, str]) -> str:
    """Stands for the search path that the child's descendants inherit."""
    return hashlib.blake2b(env.get("PATH", "").encode(errors="surrogateescape"), digest_size=16).hexdigest()


def reap_leftovers(state_dir: str | Path) -> int:
    """End what dead daemons left behind; returns how many process groups. Blocks: for a thread.

    Files of daemons that still live are left alone, so that several may share a state directory.
    """
    count = 0
    for file in Path(state_dir).glob(f"{_PREFIX}*.jsonl"):
        try:
            lines = [line for line in file.read_bytes().splitlines() if line.strip(b" \0")]
            owner, *children = map(json.loads, lines)
            if owner["boot"] == _boot_id():
                if start_time(owner["pid"]) == owner["started"]:
                    continue
                count += sum(_end_group(child["pid"], child["started"], child["path"]) for child in children)
        except (KeyError, TypeError, ValueError):
            pass  # not written by this version: nothing in it can be trusted
        except FileNotFoundError:
            continue
        file.unlink(missing_ok=True)
    return count


def _end_group(pid: int, started: int, path: str) -> bool:
    import psutil  # noqa: PLC0415 - only after a daemon was killed

    leader = start_time(pid)
    if leader is not None:
        ours = leader == started
    else:
        ours = any(_is_left_of(member, pid, path) for member in psutil.process_iter())
    return ours and signal_group(pid, signal.SIGKILL)


def _is_left_of(process: psutil.Process, leader: int, path: str) -> bool:
    """Whether the process belongs to the leader's group and session, with the same search path in its environment."""
    import psutil  # noqa: PLC0415 - likewise

    try:
        if os.getpgid(process.pid) != leader or os.getsid(process.pid) != leader:
            return False
        return process.uids().real == os.getuid() and _mark(process.environ()) == path
    except (OSError, psutil.Error):
        return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
