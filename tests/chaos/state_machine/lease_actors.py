"""Who acts on the queues: workers of ours, and one that speaks asynq's protocol as Go workers do."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

from chaos.state_machine.lease_clock import HostClock
from chaos.state_machine.lease_link import Rig

from runqy_worker.backends.asynq.backend import AsynqBackend
from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.clock import SharedClock
from runqy_worker.engine.retrying import Verdicts, asynq_retry_delay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.state_machine.lease_clock import FastClock

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.config.model import LifecycleConfig
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

LEASE = LeaseConfig()
MAX_DEATHS = 3
MAX_RERUNS = 3
_REMEMBERED = 300


class Worker:
    """A worker of ours, as far as the store sees it: a backend, and what it believes to hold.

    Attributes:
        clock: What it makes of its host's clock and of Redis'.
        hand: Tasks that it was given and has not settled; it may have lost them without knowing.
        unsent: Settlements that got no answer, to be sent again.
        stale: Tasks that it held once: their tokens must be void for ever.
        sightings: When it swept, and what it saw: by queue, the ids without a lease and those of leases only.
        in_touch_since: The earliest moment since which it may have been in touch with Redis without a break.
        renewed_at: When it last renewed.
        due_at: When it wants to do chores again.
        asleep_until: It does nothing before.
        unsure: Its last claim got no answer.
        last_upkeep: When it last did chores.
    """

    def __init__(
        self,
        name: str,
        queues: Sequence[str],
        *,
        clock: FastClock,
        options: RedisOptions,
        lifecycle: LifecycleConfig,
        skew: float,
        seed: int,
    ) -> None:
        rng = random.Random(seed)
        self.name = name
        self.rng = rng
        self.rig = Rig(name, clock)
        self.clock = SharedClock(HostClock(clock, skew))
        self.backend = AsynqBackend(
            {queue: len(queues) - at for at, queue in enumerate(queues)},
            options=options,
            worker_id=name,
            lease=LEASE,
            lifecycle=lifecycle,
            max_retry=3,
            strict_priority=rng.random() < 0.5,
            wait_connections=len(queues),
            listener=self.rig,
            clock=self.clock,
            rng=rng,
        )
        self.verdicts = Verdicts(
            retry_delay=asynq_retry_delay(rng), max_deaths=MAX_DEATHS, max_reruns=MAX_RERUNS, clock=self.clock
        )
        self.hand: dict[bytes, Task] = {}
        self.unsent: list[Settlement] = []
        self.stale: deque[Task] = deque(maxlen=_REMEMBERED)
        self.sightings: deque[tuple[float, dict[str, tuple[set[bytes], set[bytes]]]]] = deque(maxlen=3)
        self.in_touch_since = float("-inf")
        self.renewed_at = 0.0
        self.due_at = 0.0
        self.asleep_until = 0.0
        self.unsure = False
        self.last_upkeep = float("-inf")

    def forget(self, task: Task) -> None:
        """It is done with this task; its token stays good for trying whether it is void."""
        self.hand.pop(task.id.encode(), None)
        self.stale.append(task)


class GoHand:
    """What a Go worker knows of a task that it runs.

    Attributes:
        msg: The message as it was when it was claimed.
        until: Unix second at which its lease ends, as it knows.
    """

    __slots__ = ("msg", "queue", "until")

    def __init__(self, queue: str, msg: bytes, until: int) -> None:
        self.queue = queue
        self.msg = msg
        self.until = until
