"""A random walk of everyone over the field, from one seed, as long as wanted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from chaos.state_machine import lease_rules_client as client
from chaos.state_machine import lease_rules_go as go
from chaos.state_machine import lease_rules_worker as ours
from chaos.state_machine.lease_actors import LEASE
from chaos.state_machine.lease_field import NAMES, Field
from chaos.state_machine.lease_injuries import INJURIES, injure
from chaos.state_machine.lease_link import Loss
from chaos.state_machine.lease_living import live, nobody_is_left_behind
from chaos.state_machine.lease_model import Violation
from chaos.state_machine.lease_rules_upkeep import upkeep
from chaos.state_machine.lease_work import OUTCOMES, decide, make_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chaos.state_machine.lease_actors import Worker

    from runqy_worker.domain.task import Task

_STEPS = (0.0, 0.001, 0.25, 1.0, 1.0, 2.0, 2.5)
_SKEWS = (0.0, 0.0, -7.0, 4.5, 20.0)


class Walk:
    """One walk.

    Args:
        biggest: Most tasks that one step moves.
        bustle: Most actions between two rounds of what everyone does all the time.
        crowd: Unfinished tasks in the field beyond which producers rest.
        look_closely_every: Rounds between two comparisons of everything.

    Attributes:
        quiet: Time passes much faster now, with long spells in which nobody does anything, or nothing but what
            everyone always does.
    """

    def __init__(
        self, field: Field, seed: int, *, biggest: int, crowd: int, look_closely_every: int, bustle: int = 6
    ) -> None:
        self.field = field
        self.rng = random.Random(seed)
        self.biggest = biggest
        self.quiet = False
        self.bustle = bustle
        self.crowd = crowd
        self.look_closely_every = look_closely_every
        self.wire = go.GoWire(field.db)
        self._go_renewed_at = 0.0
        self._rounds = 0
        self._actions: dict[Callable[[], Awaitable[None]], int] = {
            self._enqueue: 24,
            self._claim: 28,
            self._settle: 28,
            self._renew_early: 2,
            self._wait: 6,
            self._stop_waiting: 3,
            self._pause: 2,
            self._operate: 4,
            self._go_claim: 4,
            self._go_end: 4,
            self._go_recover: 1,
            self._go_dies: 1,
            self._injure: 3,
            self._try_void_tokens: 3,
            self._fall_asleep: 1,
            self._die: 1,
            self._stand_still: 1,
        }

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Walk while `goes_on()`."""
        for _ in range(3):
            await self.field.join(self.rng.choice(_SKEWS))
        actions, weights = list(self._actions), list(self._actions.values())
        while goes_on():
            self.field.advance(self.rng.choice(_STEPS))
            await self._keep_up()
            for action in self.rng.choices(actions, weights, k=self.rng.randint(1, self.bustle)):
                await action()
            if self.quiet and self.rng.random() < 0.2:
                await self._stand_still()
            self._rounds += 1
            if self._rounds % self.look_closely_every == 0:
                await self.field.check_everything()

    def _size(self) -> int:
        """How many tasks to move: often few, sometimes as many as may be."""
        return self.rng.randint(1, self.rng.choice((2, 10, self.biggest // 4 + 1, self.biggest)))

    def _loss(self) -> Loss | None:
        return self.rng.choice(list(Loss)) if self.rng.random() < 0.04 else None

    def _awake(self) -> Worker | None:
        awake = [worker for worker in self.field.workers if worker.asleep_until <= self.field.now]
        return self.rng.choice(awake) if awake else None

    async def _keep_up(self) -> None:
        for worker in list(self.field.workers):
            if worker.asleep_until > self.field.now:
                continue
            if worker.unsent:
                again, worker.unsent = worker.unsent, []
                await ours.settle(self.field, worker, again, self._loss())
            if worker.hand and self.field.now - worker.renewed_at >= LEASE.renew_every:
                await ours.renew(self.field, worker, list(worker.hand.values()), self._loss())
            if worker.due_at <= self.field.now:
                await upkeep(self.field, worker, self._loss(), self.rng.randrange(6))
        if self.field.now - self._go_renewed_at >= 5 and self.field.go:
            self._go_renewed_at = self.field.now
            await go.go_renew(self.field, self.wire)

    async def _enqueue(self) -> None:
        if self.field.unfinished() < self.crowd:
            await client.enqueue(self.field, make_tasks(self.field, self.rng, self._size()), self._loss())

    async def _claim(self) -> None:
        worker = self._awake()
        if worker is not None and len(worker.hand) < self.crowd // 2:
            await ours.claim(self.field, worker, self._size(), self._loss(), self.rng.randrange(2))

    async def _settle(self) -> None:
        worker = self._awake()
        if worker is None or not worker.hand:
            return
        tasks = self._pick(worker)
        names = self.rng.choices(list(OUTCOMES), (60, 10, 8, 2, 1, 4, 8, 2), k=len(tasks))
        await ours.settle(self.field, worker, decide(self.field, worker, tasks, names), self._loss())

    def _pick(self, worker: Worker) -> list[Task]:
        tasks = list(worker.hand.values())
        if self.rng.random() < 0.2:
            return tasks
        return self.rng.sample(tasks, min(len(tasks), self._size()))

    async def _renew_early(self) -> None:
        worker = self._awake()
        if worker is not None and worker.hand:
            await ours.renew(self.field, worker, self._pick(worker), self._loss())

    async def _wait(self) -> None:
        worker = self._awake()
        if worker is not None:
            if self.rng.random() < 0.1:
                worker.rig.lose_next_wait()
            await ours.wait(self.field, worker)

    async def _stop_waiting(self) -> None:
        worker = self._awake()
        if worker is not None:
            await ours.stop_waiting(self.field, worker, self._loss())

    async def _pause(self) -> None:
        name = self.rng.choice(NAMES)
        paused = not self.field.model.queues[name].paused and self.rng.random() < 0.4
        await client.pause(self.field, name, paused=paused)

    def _any_task(self) -> bytes | None:
        """One that some list shows, or any."""
        queue = self.field.model.queues[self.rng.choice(NAMES)]
        lists = [list(queue.active), queue.pending, *(list(each) for each in queue.sets.values())]
        listed = [each for each in self.rng.choice(lists) if each in self.field.model.tasks]
        return self.rng.choice(listed) if listed else None

    async def _operate(self) -> None:
        task_id = self._any_task()
        if task_id is not None:
            await client.operate(self.field, self.rng.choice(client.VERBS), task_id)

    async def _go_claim(self) -> None:
        if len(self.field.go) < 40:
            await go.go_claim(self.field, self.wire, self.rng.choice(NAMES), self.rng.randint(1, 20))

    async def _go_end(self) -> None:
        if self.field.go:
            await go.go_end(self.field, self.wire, self.rng.choice(go.ENDS), self.rng.randint(1, 20))

    async def _go_recover(self) -> None:
        await go.go_recover(self.field, self.wire)

    async def _go_dies(self) -> None:
        if self.rng.random() < 0.3:
            self.field.note("go dies")
            self.field.go.clear()
            self.field.model.events["injury: go worker killed"] += 1

    async def _injure(self) -> None:
        task_id = self._any_task()
        if task_id is not None:
            await injure(self.field, self.rng.choice(list(INJURIES)), task_id)

    async def _try_void_tokens(self) -> None:
        worker = self._awake()
        if worker is None or not worker.stale:
            return
        tasks = self.rng.sample(list(worker.stale), min(len(worker.stale), self._size()))
        if self.rng.random() < 0.5:
            await ours.renew(self.field, worker, tasks)
        else:
            names = self.rng.choices(list(OUTCOMES), k=len(tasks))
            await ours.settle(self.field, worker, decide(self.field, worker, tasks, names))

    async def _fall_asleep(self) -> None:
        worker = self._awake()
        if worker is not None:
            self.field.note("%s falls asleep", worker.name)
            worker.asleep_until = self.field.now + self.rng.choice((5, 20, 60))
            self.field.model.events["injury: worker stalled"] += 1

    async def _die(self) -> None:
        if self.rng.random() < 0.3:
            await ours.die(self.field, self.rng.choice(self.field.workers))
            await self.field.join(self.rng.choice(_SKEWS))

    async def _stand_still(self) -> None:
        """Nobody does anything for a while; or everyone does what the living do, for a lease and more."""
        if self.rng.random() < 0.5:
            self.field.note("everyone stands still")
            self.field.advance(self.rng.choice((5, 13, 40, 100, 3600)))
        else:
            self.field.note("everyone lives")
            self.field.go.clear()
            await live(self.field, 100)
            nobody_is_left_behind(self.field)


async def walk(field: Field, walker: Walk, goes_on: Callable[[], bool]) -> None:
    """Run it; a `Violation` tells the last steps."""
    try:
        await walker.run(goes_on)
    except Violation as violation:
        raise Violation("\n".join([str(violation), "the last steps:", *field.steps])) from violation
