"""Real asynq servers in an arena, and the account of what asynq's own rules do to tasks."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import psutil
from chaos.arena import PREFIX, Arena
from support.asynq_go import Asynq
from support.field import QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from chaos.ledger import Account

GRACE = 30
"""Seconds that asynq lets pass after a lease ran out."""


def scores(arena: Arena, name: str) -> dict[str, float]:
    """The tasks in one of the queue's sorted sets, each with its Unix seconds."""
    found: list[tuple[str, float]] = arena.client.zrange(PREFIX + name, 0, -1, withscores=True)  # type: ignore[assignment]  # decoded, with scores
    return dict(found)


class GoServer:
    """One process of the real asynq library, executing as our task code does."""

    def __init__(self, command: list[str], environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | (environ or {}))

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def ports(self) -> set[int]:
        """Its ends of its connections."""
        return {connection.laddr.port for connection in psutil.Process(self.pid).net_connections(kind="tcp")}

    def end(self) -> None:
        """Whatever it takes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)


class GoSide:
    """The servers of asynq in one arena.

    At most one of them works at a time, so that it is known whose a lease in whole seconds is.

    Attributes:
        asynq: The library's client and inspector.
        charges: How many attempts asynq's rules charged to each task.
        pids: All its servers, to tell their executions.
    """

    def __init__(self, arena: Arena, program: Path) -> None:
        self.arena = arena
        self.asynq = Asynq(program, arena.redis.addr, QUEUE)
        self.charges: Counter[str] = Counter()
        self.pids: set[int] = set()
        self._servers: list[GoServer] = []

    def serve(self, *flags: str, concurrency: int = 4, environ: dict[str, str] | None = None) -> GoServer:
        """Start a server."""
        server = GoServer(
            [
                *(str(self.asynq.program), "run-server", *self.asynq.where, "--limit", "2h"),
                *("--concurrency", str(concurrency), "--runs", str(self.arena.runs_file)),
                *("--retry-delay", "50ms", *flags),
            ],
            environ,
        )
        self._servers.append(server)
        self.pids.add(server.pid)
        return server

    def held(self) -> set[str]:
        """What is in active under a lease in whole seconds: asynq's own."""
        with self.arena.client.pipeline(transaction=True) as pipe:
            pipe.lrange(f"{PREFIX}active", 0, -1)
            pipe.zrange(f"{PREFIX}lease", 0, -1, withscores=True)
            active, leases = pipe.execute()
        whole = {task_id for task_id, score in leases if float(score).is_integer()}
        return whole.intersection(active)

    def kill(self, server: GoServer, what: str = "kill -9 of the Go server") -> set[str]:
        """SIGKILL a server. What it had in hand is charged an attempt and may be executed once more; returns that."""
        server.signal(signal.SIGSTOP)
        ports = server.ports()
        server.end()
        self._wait_gone(ports)
        return self.left_behind(what)

    def stop(self, server: GoServer, what: str = "SIGTERM to the Go server") -> None:
        """SIGTERM a server: it ends or hands back what it has, so nothing may be executed twice."""
        server.signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        self.arena.ledger.injure(what)
        assert not self.held()

    def stop_with_gaps(self, server: GoServer) -> None:
        """SIGTERM a server whose connections were cut, and let the time pass for what it forgot.

        asynq claims again when the answer to a claim does not come, and does not look for what the first one took; an
        outcome that it could not write is not written later. Such a task stays in active until its lease is over.
        """
        server.signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
        self.arena.ledger.injure("SIGTERM to the Go server")
        if self.held():
            self.let_leases_pass(self.left_behind("forgotten by a Go server whose connections were cut"))

    def left_behind(self, what: str) -> set[str]:
        """No server works: whatever is under a lease of asynq was left behind because of `what`."""
        held = self.held()
        self.arena.ledger.injure(what, held)
        self.expect_charges(held)
        return held

    def expect_charges(self, ids: Iterable[str]) -> None:
        """An attempt of each of these tasks counts as failed."""
        endings = self.arena.ledger.endings
        for task_id in ids:
            self.charges[task_id] += 1
            endings[task_id] = dataclasses.replace(endings[task_id], charged=True)

    def let_leases_pass(self, ids: Iterable[str]) -> None:
        """Move these leases back, as if they had run out and the grace had passed too."""
        long_ago = int(self.arena.client.time()[0]) - GRACE - 1
        for task_id in ids:
            self.arena.client.zadd(f"{PREFIX}lease", {task_id: long_ago}, xx=True)

    def let_delays_pass(self) -> None:
        """Move what was charged and waits for its retry to now, as if asynq's delay had passed."""
        now = int(self.arena.client.time()[0])
        for task_id in self.arena.client.zrangebyscore(f"{PREFIX}retry", f"({now}", "+inf"):
            if task_id in self.charges:
                self.arena.client.zadd(f"{PREFIX}retry", {str(task_id): now}, xx=True)

    def settle(self, *, seconds: float = 120) -> None:
        """Wait until every task has ended, without waiting for asynq's delays."""

        def settled() -> bool:
            self.let_delays_pass()
            return self.arena.settled_count() >= len(self.arena.ledger.endings)

        self.arena.wait_until(settled, "every task settled", seconds=seconds)

    def account(self) -> Account:
        """The arena's account; each task must have been charged just as often as asynq's rules charged it."""
        runs = self.arena.run_pids()
        theirs = sum(pid in self.pids for pid in runs)
        self.arena.ledger.figures |= {"executions by Go": theirs, "executions by ours": len(runs) - theirs}
        account = self.arena.account()
        ids = list(self.arena.ledger.endings)
        retried = {info.id: info.retried for info in self.arena.infos(ids) if info.retried}
        assert retried == +self.charges
        return account

    def close(self) -> None:
        """End every server."""
        for server in self._servers:
            server.end()

    def _wait_gone(self, ports: set[int]) -> None:
        """Until Redis has done all that a dead process had asked of it."""

        def gone() -> bool:
            addresses = [client["addr"] for client in self.arena.client.client_list()]
            return not any(int(address.rsplit(":", 1)[1]) in ports for address in addresses)

        self.arena.wait_until(gone, "the dead server's connections gone")
