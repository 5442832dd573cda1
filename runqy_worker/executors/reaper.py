"""Children that outlived a killed daemon: written down while they live, ended when the next daemon starts.

The kernel kills a child when its daemon dies, but not what the child has started. A process is only ended if it is
certain to be one of ours: same boot, same start time; or, once its leader is gone, member of the leader's own session
and group with the environment that the leader was given.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from runqy_worker.domain.events import Level
from runqy_worker.executors.groups import signal_group, start_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.executors.notices import LimitedNotices

_PREFIX = "children-"
_numbers = itertools.count(1)


class ChildRecords:
    """The live children of one executor, in a file of its own below the state directory.

    Args:
        state_dir: Where the file goes; None keeps no records.
        notices: Told when the file can't be written, which harms nothing else.
    """

    def __init__(self, state_dir: Path | None, notices: LimitedNotices) -> None:
        self._file = None if state_dir is None else state_dir / f"{_PREFIX}{os.getpid()}-{next(_numbers)}.json"
        self._notices = notices
        self._children: dict[int, dict[str, Any]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._changed = False

    def add(self, pid: int, env: Mapping[str, str]) -> None:
        """A child was started, as leader of its own session and process group."""
        if self._file is not None:
            self._children[pid] = {"pid": pid, "started": start_time(pid), "path": env.get("PATH", "")}
            self._write_soon()

    def remove(self, pid: int) -> None:
        """It is gone, and so is its group."""
        if self._children.pop(pid, None) is not None:
            self._write_soon()

    async def flush(self) -> None:
        """Wait until the file says what is true."""
        while self._writing is not None:
            await self._writing

    def _write_soon(self) -> None:
        self._changed = True
        if self._writing is None and self._file is not None:
            self._writing = asyncio.create_task(self._write(self._file), name="child records")

    async def _write(self, file: Path) -> None:
        """Write the file, off the event loop, until nothing has changed meanwhile."""
        try:
            while self._changed:
                self._changed = False
                await asyncio.to_thread(_store, file, list(self._children.values()))
        except OSError as error:
            message = f"live processes can't be written down, so a killed worker may leave some behind: {error}"
            self._notices.emit("child_records_failed", message, Level.WARNING, file=str(file))
        finally:
            self._writing = None


def _store(file: Path, children: list[dict[str, Any]]) -> None:
    if not children:
        file.unlink(missing_ok=True)
        return
    owner = {"pid": os.getpid(), "started": start_time(os.getpid()), "boot": _boot_id()}
    new = file.with_suffix(".new")
    file.parent.mkdir(parents=True, exist_ok=True)
    new.write_bytes(msgspec.json.encode({"owner": owner, "children": children}))
    new.replace(file)


def reap_leftovers(state_dir: str | Path) -> int:
    """End what dead daemons left behind; returns how many process groups. Blocks: for a thread.

    Files of daemons that still live are left alone, so that several may share a state directory.
    """
    count = 0
    for file in Path(state_dir).glob(f"{_PREFIX}*.json"):
        try:
            content = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
            owner, children = content["owner"], content["children"]
            if owner["boot"] == _boot_id():
                if start_time(owner["pid"]) == owner["started"]:
                    continue
                count += sum(_end_group(child["pid"], child["started"], child["path"]) for child in children)
        except (msgspec.MsgspecError, KeyError, TypeError):
            pass  # half a file of another version: nothing in it can be trusted
        except FileNotFoundError:
            continue
        file.unlink(missing_ok=True)
    return count


def _end_group(pid: int, started: int, path: str) -> bool:
    leader = start_time(pid)
    if leader is not None:
        ours = leader == started
    else:
        ours = any(_is_left_of(member, pid, path) for member in psutil.process_iter())
    return ours and signal_group(pid, signal.SIGKILL)


def _is_left_of(process: psutil.Process, leader: int, path: str) -> bool:
    """Whether the process belongs to the leader's group and session, with the same search path in its environment."""
    try:
        if os.getpgid(process.pid) != leader or os.getsid(process.pid) != leader:
            return False
        return process.uids().real == os.getuid() and process.environ().get("PATH", "") == path
    except (OSError, psutil.Error):
        return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(psutil.boot_time())
