"""Where a scenario plays: real workers on a real Redis that may be injured, and the ledger of every task."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from chaos.ledger import COMPLETED, Account, Ending, Ledger
from support.field import QUEUE, Field, children_of, is_gone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psutil
    import pytest
    from support.redis_server import RedisServer
    from support.worker_site import WorkerProcess

PREFIX = f"asynq:{{{QUEUE}}}:"


class Arena(Field):
    """A field with a ledger, for the test that asks. Leases are 2 s long unless a scenario says otherwise.

    Attributes:
        long: Whether the long form is asked for.
        rng: The scenario's random choices; the same seed gives the same choices.
        ledger: What was enqueued, what was done to the system, what that explains.
    """

    def __init__(self, request: pytest.FixtureRequest, directory: Path, server: RedisServer) -> None:
        super().__init__(directory, server)
        scenario = request.node.name.removeprefix("test_").replace("_", " ")
        self.long = request.config.getoption("--chaos-long")
        self.rng = random.Random(f"{scenario}/{request.config.getoption('--chaos-seed')}")
        self.ledger = Ledger(scenario)
        self._batches = 0
        self._seen: list[psutil.Process] = []

    def size(self, short: int, long: int) -> int:
        """The number for the form that is being run."""
        return long if self.long else short

    def enter(self, payloads: Sequence[object], ending: Ending = COMPLETED, **options: Any) -> list[str]:
        """Enqueue tasks and enter them in the ledger."""
        self._batches += 1
        ids = self.put(payloads, prefix=f"b{self._batches}-", **options)
        self.ledger.enter(ids, ending)
        return ids

    def short_tasks(self, count: int) -> list[dict[str, float]]:
        """Payloads of tasks that take between nothing and 10 ms."""
        return [{"sleep": self.rng.choice([0, 0, 0.001, 0.003, 0.01])} for _ in range(count)]

    def team(self, count: int, **sections: Any) -> list[WorkerProcess]:
        """So many workers, ready."""
        workers = [self.quick(seed=self.rng.randrange(2**31), **sections) for _ in range(count)]
        for worker in workers:
            worker.wait_for_line("ready")
        return workers

    def begun(self) -> int:
        """Executions so far."""
        return sum(self.runs().values())

    def wait_begun(self, more: int, *, seconds: float = 60) -> None:
        """Until so many more executions have begun, or every task is settled."""
        target = min(self.begun() + more, len(self.ledger.endings))
        self.wait_until(
            lambda: self.begun() >= target or self.settled_count() >= len(self.ledger.endings),
            f"{more} more executions",
            seconds=seconds,
        )

    def nap(self, longest: float) -> None:
        """A random pause, so that the injury comes at no particular moment."""
        time.sleep(self.rng.uniform(0, longest))

    def in_hand(self, worker: WorkerProcess) -> set[str]:
        """The tasks in active under a token of this worker, which must be dead or stopped for the answer to hold."""
        active = [str(task_id) for task_id in self.client.lrange(f"{PREFIX}active", 0, -1)]
        with self.client.pipeline(transaction=False) as pipe:
            for task_id in active:
                pipe.hget(f"{PREFIX}t:{task_id}", "token")
            tokens = pipe.execute()
        mine = f":{worker.process.pid}:"
        return {task_id for task_id, token in zip(active, tokens, strict=True) if mine in (token or "")}

    def kill(self, worker: WorkerProcess, what: str = "kill -9 of the daemon") -> set[str]:
        """SIGKILL a daemon; what it had in hand may be executed once more. Returns that."""
        self._seen += children_of(worker)
        worker.end()
        held = self.in_hand(worker)
        self.ledger.injure(what, held)
        return held

    def settle(self, *, seconds: float = 120) -> None:
        """Wait until every entered task is completed or archived."""
        self.wait_settled(len(self.ledger.endings), seconds=seconds)

    def account(self) -> Account:
        """Account for every entered task, and for every process that ran one under a daemon that was killed."""
        contents = self.contents()
        assert not set(contents.lease) - set(contents.active), "leases without their tasks"
        places = {
            "pending": contents.pending,
            "active": contents.active,
            "scheduled": contents.scheduled,
            "retry": contents.retry,
            "archived": contents.archived,
            "completed": contents.completed,
        }
        try:
            account = self.ledger.close(places, self.infos(list(self.ledger.endings)), self.runs())
        except AssertionError as error:
            error.add_note(self.logs())
            raise
        assert [process for process in self._seen if not is_gone(process)] == []
        return account
