"""Lists workers where both asynq's tools and the runqy server look for them.

The hash of running tasks does not live below `asynq:workers:`, where asynq itself puts it: the runqy server takes
every hash there for a worker. Asynq's tools find it all the same, because they follow the name in the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runqy_worker.backends.asynq.codec import read_fields, write_bytes, write_int, write_string, write_timestamp
from runqy_worker.backends.asynq.keys import SERVERS, WORKERS
from runqy_worker.backends.asynq.link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.domain.registry import LogLine, RunningTask, WorkerSnapshot

_ASYNQ_TTL = 10
_RUNQY_TTL = 30
_LOG_LINES = 500
_QUEUES_FIELD = 5
_NO_DEADLINE = -62135596800
"""Go's zero time, in Unix seconds: no limit."""


def server_info(snapshot: WorkerSnapshot) -> bytes:
    """The ServerInfo message of asynq."""
    out = bytearray()
    write_string(out, 1, snapshot.host)
    write_int(out, 2, snapshot.pid)
    write_string(out, 3, snapshot.worker_id)
    write_int(out, 4, snapshot.concurrency)
    for queue, priority in sorted(snapshot.queues.items()):
        entry = bytearray()
        write_string(entry, 1, queue)
        write_int(entry, 2, priority)
        write_bytes(out, _QUEUES_FIELD, bytes(entry))
    write_int(out, 6, snapshot.strict_priority)
    write_string(out, 7, _asynq_status(snapshot))
    write_timestamp(out, 8, snapshot.started_at)
    write_int(out, 9, len(snapshot.running))
    return bytes(out)


def queues_of(info: bytes) -> set[str]:
    """The queues that the server works on whose ServerInfo message this is.

    Raises:
        CodecError: It is not one.
    """
    entries = [value for number, value in read_fields(info) if number == _QUEUES_FIELD and isinstance(value, bytes)]
    names = [name for entry in entries for number, name in read_fields(entry) if number == 1]
    return {name.decode(errors="replace") for name in names if isinstance(name, bytes)}


def worker_info(snapshot: WorkerSnapshot, task: RunningTask) -> bytes:
    """The WorkerInfo message of asynq: one running task."""
    out = bytearray()
    write_string(out, 1, snapshot.host)
    write_int(out, 2, snapshot.pid)
    write_string(out, 3, snapshot.worker_id)
    write_string(out, 4, task.id)
    write_string(out, 5, task.type)
    write_bytes(out, 6, task.payload)
    write_string(out, 7, task.queue)
    write_timestamp(out, 8, task.started_at)
    write_timestamp(out, 9, task.deadline or _NO_DEADLINE)
    return bytes(out)


def worker_fields(snapshot: WorkerSnapshot, now: float) -> dict[str, Arg]:
    """The hash that the runqy server shows. `started` is the older name of `started_at`."""
    queues = " ".join(f"{queue}:{priority}" for queue, priority in sorted(snapshot.queues.items()))
    started = int(snapshot.started_at)
    return {
        "worker_id": snapshot.worker_id,
        "started_at": started,
        "started": started,
        "last_beat": int(now),
        "concurrency": snapshot.concurrency,
        "queues": f"map[{queues}]",
        "status": snapshot.status,
        "healthy": "true" if snapshot.healthy else "false",
        "metrics": msgspec.json.encode(snapshot.metrics),
        "recovery": msgspec.json.encode(snapshot.recovery),
    }


class AsynqRegistry:
    """The registry port, over a connection of its own."""

    def __init__(self, options: RedisOptions, *, listener: Listener, clock: Clock) -> None:
        self._link = Link(options, "registry", listener=listener)
        self._clock = clock

    async def beat(self, snapshot: WorkerSnapshot, lines: Sequence[LogLine]) -> None:
        """Write the snapshot and append the new log lines; both expire when beats stop.

        Raises:
            BackendUnavailableError: Redis can't be reached now. The lines may be given again; none is written
                twice unless the answer alone was lost.
        """
        now = self._clock.time()
        server, running = _asynq_keys(snapshot.worker_id, snapshot.host, snapshot.pid)
        expires = int(now) + _ASYNQ_TTL
        commands: list[tuple[Arg, ...]] = [
            ("MULTI",),
            ("ZADD", SERVERS, expires, server),
            ("ZADD", WORKERS, expires, running),
            ("SET", server, server_info(snapshot), "EX", _ASYNQ_TTL),
            ("DEL", running),
        ]
        if snapshot.running:
            infos = [part for task in snapshot.running for part in (task.id, worker_info(snapshot, task))]
            commands += [("HSET", running, *infos), ("EXPIRE", running, _ASYNQ_TTL)]
        own = _runqy_key(snapshot.worker_id)
        fields = [part for pair in worker_fields(snapshot, now).items() for part in pair]
        commands += [("HSET", own, *fields), ("EXPIRE", own, _RUNQY_TTL)]
        log = f"{own}:logs"
        if lines:
            encoded = [
                msgspec.json.encode({"ts": line.ts, "src": line.src, "text": line.text, "seq": line.seq})
                for line in lines[-_LOG_LINES:]
            ]
            commands += [("RPUSH", log, *encoded), ("LTRIM", log, -_LOG_LINES, -1)]
        commands += [("EXPIRE", log, _RUNQY_TTL), ("EXEC",)]
        await self._link.pipeline(commands)

    async def leave(self, worker_id: str) -> None:
        """Take the worker off the lists. Its log stays until it expires, for whoever is still reading it.

        Raises:
            BackendUnavailableError: Redis can't be reached now; the entries expire by themselves.
            ValueError: The id is not of the form `<host>:<pid>:<suffix>`.
        """
        host, pid, _suffix = worker_id.rsplit(":", 2)
        server, running = _asynq_keys(worker_id, host, int(pid))
        await self._link.pipeline(
            [
                ("MULTI",),
                ("ZREM", SERVERS, server),
                ("ZREM", WORKERS, running),
                ("DEL", server, running, _runqy_key(worker_id)),
                ("EXEC",),
            ]
        )

    async def close(self) -> None:
        """Drop the connection, after the exchange under way."""
        await self._link.close()

    async def abort(self) -> None:
        """Drop the connection at once; the exchange under way, if any, fails."""
        await self._link.abort()


def _asynq_status(snapshot: WorkerSnapshot) -> str:
    """What asynq calls it: `stopped` fetches nothing for now, `closed` is going away."""
    if snapshot.status == "stopped":
        return "closed"
    if snapshot.quiet:
        return "stopped"
    return "active"


def _asynq_keys(worker_id: str, host: str, pid: int) -> tuple[str, str]:
    """Names of the server's record and of the hash of its running tasks."""
    name = f"{{{host}:{pid}:{worker_id}}}"
    return f"asynq:servers:{name}", f"asynq:active_workers:{name}"


def _runqy_key(worker_id: str) -> str:
    return f"asynq:workers:{worker_id}"
