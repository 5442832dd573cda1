"""Inspectors at work: asynq's own and ours, doing at random what people do to tasks, and the account of their deeds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from chaos.arena import PREFIX
from chaos.ledger import Ending
from support.field import QUEUE

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.refusals import TaskNotFoundError, TaskStateError

if TYPE_CHECKING:
    from chaos.arena import Arena
    from support.asynq_go import Asynq

VERBS = ("archive", "run", "delete", "cancel")
CANCELLED = "cancel|^it fails once|^asynq: task lease expired|^$"
"""What the last error of a task may say that was cancelled at some time."""
FAILING = Ending(charged=True)


def stream(arena: Arena, count: int) -> None:
    """Tasks to run at once and later, and tasks that fail at first; each of these may be executed twice."""
    some = [{"sleep": arena.rng.choice([0, 0.005, 0.01, 0.02])} for _ in range(count)]
    third = count // 3
    arena.enter(some[:third])
    arena.enter(some[third : 2 * third], process_at=time.time() + 3600)
    failing = arena.enter([{**task, "fail_once": True} for task in some[2 * third :]], FAILING)
    arena.ledger.injure("a first failure", failing)


class Inspector(Protocol):
    """Does one thing to one task, or to the queue."""

    def do(self, verb: str, task_id: str = "") -> bool:
        """Whether it was accepted."""

    def close(self) -> None: ...


class GoInspector:
    """The real asynq library's, in a process of its own."""

    def __init__(self, asynq: Asynq) -> None:
        self._process = subprocess.Popen(
            [str(asynq.program), "at-work", *asynq.where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, verb: str, task_id: str = "") -> bool:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": verb, "id": task_id}) + "\n")
        stdin.flush()
        return "error" not in json.loads(stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=10)
        assert self._process.returncode == 0


class OurInspector:
    """The one behind `runqy-worker`'s commands."""

    def __init__(self, addr: str) -> None:
        self._runner = asyncio.Runner()
        self._client = AsynqClient(RedisOptions(addr=addr))

    def do(self, verb: str, task_id: str = "") -> bool:
        return self._runner.run(self._do(verb, task_id))

    async def _do(self, verb: str, task_id: str) -> bool:
        client = self._client
        if verb in {"pause", "unpause"}:
            return await (client.pause(QUEUE) if verb == "pause" else client.unpause(QUEUE))
        if verb == "cancel":
            return await client.cancel(task_id) > 0
        try:
            await {"archive": client.archive, "run": client.run_now, "delete": client.delete}[verb](task_id, QUEUE)
        except (TaskNotFoundError, TaskStateError):
            return False
        return True

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@dataclass
class History:
    """What was done to one task.

    Attributes:
        last: The last accepted command that moved it: `archive` or `run`.
        runs: Accepted `run` commands.
        cancels: Cancellations that were sent.
    """

    last: str = ""
    runs: int = 0
    cancels: int = 0


class Meddling:
    """Does things to tasks at random, one after the other, so that the order of what was accepted is known.

    Attributes:
        accepted: How often each command was accepted, by command.
        deleted: Tasks whose deletion was accepted.
    """

    def __init__(self, arena: Arena, *inspectors: Inspector) -> None:
        self.arena = arena
        self.inspectors = inspectors
        self.accepted: Counter[str] = Counter()
        self.deleted: set[str] = set()
        self._histories: dict[str, History] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for inspector in self.inspectors:
            inspector.close()

    def do(self, verb: str, task_id: str) -> bool:
        """One command to one task, by one of the inspectors."""
        accepted = self.arena.rng.choice(self.inspectors).do(verb, task_id)
        history = self._histories.setdefault(task_id, History())
        if verb == "cancel":
            history.cancels += 1
        elif accepted and verb == "delete":
            self.deleted.add(task_id)
        elif accepted:
            history.last = verb
            history.runs += verb == "run"
        self.accepted[verb] += accepted
        return accepted

    def meddle(self, count: int) -> None:
        """So many commands to tasks that are somewhere, cancellations to those that are being run."""
        rng = self.arena.rng
        for _ in range(count):
            verb = rng.choice(VERBS)
            active = self.arena.client.lrange(f"{PREFIX}active", 0, -1) if verb == "cancel" else []
            alive = [task_id for task_id in self._some() if task_id not in self.deleted]
            if active or alive:
                self.do(verb, str(rng.choice(active or alive)))

    def race(self, count: int) -> None:
        """Enqueue tasks one at a time and meddle with each at once, while workers wait for it."""
        for _ in range(count):
            (task_id,) = self.arena.enter([{}])
            self.do(self.arena.rng.choice(["archive", "delete"]), task_id)

    def pause(self, seconds: float) -> None:
        """Pause the queue for a while: nothing may begin meanwhile that was not claimed before."""
        rng = self.arena.rng
        assert rng.choice(self.inspectors).do("pause")
        with self.arena.client.pipeline(transaction=True) as pipe:
            pipe.lrange(f"{PREFIX}active", 0, -1)
            pipe.zrange(f"{PREFIX}lease", 0, -1)
            active, leased = pipe.execute()
        size = self.arena.runs_file.stat().st_size
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.meddle(5)
            time.sleep(0.01)
        with self.arena.runs_file.open() as runs:
            runs.seek(size)
            begun = {line.split()[0] for line in runs}
        assert rng.choice(self.inspectors).do("unpause")
        claimed = set(active) & set(leased)
        # A task that is cancelled is archived at once; a serial process may still come to its line later.
        claimed |= {task_id for task_id, history in self._histories.items() if history.cancels}
        assert begun <= claimed, f"begun while the queue was paused: {sorted(begun - claimed)}"
        self.arena.ledger.injure("queue paused")

    def let_time_come(self) -> None:
        """Move everything that is scheduled or waits for its retry to now."""
        now = int(self.arena.client.time()[0])
        for name in ("scheduled", "retry"):
            later = self.arena.client.zrangebyscore(PREFIX + name, f"({now}", "+inf")
            for task_id in later:
                self.arena.client.zadd(PREFIX + name, {str(task_id): now}, xx=True)

    def settle(self, *, seconds: float = 120) -> None:
        """Wait until no task is under way any more."""

        def settled() -> bool:
            self.let_time_come()
            return self.arena.contents().waiting() == 0

        self.arena.wait_until(settled, "every task at its end", seconds=seconds)

    def enter_results(self) -> None:
        """Tell the ledger what the accepted commands make of each task."""
        ledger = self.arena.ledger
        for task_id in self.deleted:
            del ledger.endings[task_id]  # whatever is left of it would be found by the ledger as not enqueued
        hashes = self.arena.contents().hashes
        assert not hashes & self.deleted, "deleted tasks that are still there"
        for task_id, history in self._histories.items():
            if task_id not in ledger.endings:
                continue
            charged = ledger.endings[task_id].charged or history.cancels > 0
            if history.last == "archive":
                ending = Ending(frozenset({"archived"}), runs=0, charged=charged)
            elif history.cancels:
                # It may have been archived before its process came to its line.
                ending = Ending(frozenset({"completed", "archived"}), error=CANCELLED, runs=0, charged=True)
            else:
                ending = Ending(charged=charged)
            ledger.endings[task_id] = ending
            for what, times in (("run again by an inspector", history.runs), ("cancelled", history.cancels)):
                for _ in range(times):
                    ledger.injure(what, [task_id])
        ledger.figures |= {f"accepted: {verb}": count for verb, count in sorted(self.accepted.items())}

    def _some(self) -> list[str]:
        """A few tasks of any state, most of them still waiting."""
        rng = self.arena.rng
        ids = list(self.arena.ledger.endings)
        waiting = [
            *self.arena.client.lrange(f"{PREFIX}pending", -20, -1),
            *self.arena.client.zrange(f"{PREFIX}{rng.choice(['scheduled', 'retry', 'archived'])}", 0, 20),
        ]
        return waiting or rng.sample(ids, min(20, len(ids)))
