"""The lease protocol against its model, with counterexamples made small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from chaos.state_machine import lease_rules_client as client
from chaos.state_machine import lease_rules_go as go
from chaos.state_machine import lease_rules_worker as ours
from chaos.state_machine.lease_actors import LEASE
from chaos.state_machine.lease_field import NAMES, Field
from chaos.state_machine.lease_injuries import INJURIES, injure
from chaos.state_machine.lease_link import Loss
from chaos.state_machine.lease_living import live, nobody_is_left_behind
from chaos.state_machine.lease_rules_upkeep import upkeep
from chaos.state_machine.lease_work import KINDS, OUTCOMES, decide, make_task
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest
    from chaos.state_machine.lease_actors import Worker
    from support.redis_server import RedisServer

    from runqy_worker.domain.task import Task

WORKERS = st.integers(0, 2)
SOME = st.integers(1, 4)
QUEUES = st.sampled_from(NAMES)
LOSSES = st.sampled_from([None, None, None, None, *Loss])
TIMES = st.sampled_from([0.001, 0.5, 1, 3, 3, 3, 4, 12, 13, 31, 61, 3600])
ANY = st.integers(0, 50)


class LeaseProtocol(RuleBasedStateMachine):
    """Whoever does what, in whatever order, Redis shows what the model says."""

    addr: ClassVar[str]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.field = Field(self.addr, seed=7, archive_limit=6, ttl_archived=7200, always_full=True)
        self.wire = go.GoWire(self.field.db)

    def run(self, step: Coroutine[Any, Any, Any]) -> None:
        self.runner.run(step)

    def worker(self, number: int) -> Worker:
        return self.field.workers[number % len(self.field.workers)]

    def some_task(self, number: int) -> bytes | None:
        tasks = list(self.field.model.tasks)
        return tasks[number % len(tasks)] if tasks else None

    @initialize(skew=st.sampled_from([0.0, -7.0, 20.0]))
    def open(self, skew: float) -> None:
        for each in (0.0, skew, 0.0):
            self.run(self.field.join(each))

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), queue=QUEUES, amount=ANY, loss=LOSSES)
    def enqueue(self, kinds: list[str], queue: str, amount: int, loss: Loss | None) -> None:
        tasks = [make_task(self.field, kind, queue, amount) for kind in kinds]
        self.run(client.enqueue(self.field, tasks, loss))

    @rule(who=WORKERS, want=SOME, loss=LOSSES, after=st.integers(0, 1))
    def claim(self, who: int, want: int, loss: Loss | None, after: int) -> None:
        self.run(ours.claim(self.field, self.worker(who), want, loss, after))

    @rule(who=WORKERS, count=SOME, outcome=st.sampled_from(sorted(OUTCOMES)), loss=LOSSES)
    def settle(self, who: int, count: int, outcome: str, loss: Loss | None) -> None:
        worker = self.worker(who)
        tasks = list(worker.hand.values())[:count]
        if tasks:
            self.run(ours.settle(self.field, worker, decide(self.field, worker, tasks, [outcome] * len(tasks)), loss))

    @rule(who=WORKERS, loss=LOSSES)
    def settle_again(self, who: int, loss: Loss | None) -> None:
        worker = self.worker(who)
        if worker.unsent:
            again, worker.unsent = worker.unsent, []
            self.run(ours.settle(self.field, worker, again, loss))

    @rule(who=WORKERS, loss=LOSSES)
    def renew(self, who: int, loss: Loss | None) -> None:
        worker = self.worker(who)
        if worker.hand:
            self.run(ours.renew(self.field, worker, list(worker.hand.values()), loss))

    @rule(who=WORKERS, outcome=st.sampled_from(sorted(OUTCOMES)), renews=st.booleans())
    def try_void_tokens(self, who: int, outcome: str, renews: bool) -> None:
        worker = self.worker(who)
        tasks: list[Task] = list(worker.stale)[-4:]
        if tasks and renews:
            self.run(ours.renew(self.field, worker, tasks))
        elif tasks:
            self.run(ours.settle(self.field, worker, decide(self.field, worker, tasks, [outcome] * len(tasks))))

    @rule(who=WORKERS, lost=st.booleans())
    def wait(self, who: int, lost: bool) -> None:
        worker = self.worker(who)
        if lost:
            worker.rig.lose_next_wait()
        self.run(ours.wait(self.field, worker))

    @rule(who=WORKERS, loss=LOSSES)
    def stop_waiting(self, who: int, loss: Loss | None) -> None:
        self.run(ours.stop_waiting(self.field, self.worker(who), loss))

    @rule(who=WORKERS, loss=LOSSES, after=st.integers(0, 5))
    def upkeep(self, who: int, loss: Loss | None, after: int) -> None:
        self.run(upkeep(self.field, self.worker(who), loss, after))

    @rule(who=WORKERS)
    def die(self, who: int) -> None:
        self.run(ours.die(self.field, self.worker(who)))
        self.run(self.field.join())

    @rule(queue=QUEUES, paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.run(client.pause(self.field, queue, paused=paused))

    @rule(verb=st.sampled_from(client.VERBS), which=ANY)
    def operate(self, verb: str, which: int) -> None:
        task_id = self.some_task(which)
        if task_id is not None:
            self.run(client.operate(self.field, verb, task_id))

    @rule(queue=QUEUES, most=SOME)
    def go_claim(self, queue: str, most: int) -> None:
        self.run(go.go_claim(self.field, self.wire, queue, most))

    @precondition(lambda self: self.field.go)
    @rule(how=st.sampled_from(go.ENDS), most=SOME)
    def go_end(self, how: str, most: int) -> None:
        self.run(go.go_end(self.field, self.wire, how, most))

    @precondition(lambda self: self.field.go)
    @rule()
    def go_renew(self) -> None:
        self.run(go.go_renew(self.field, self.wire))

    @precondition(lambda self: self.field.go)
    @rule()
    def go_dies(self) -> None:
        self.field.go.clear()

    @rule()
    def go_recover(self) -> None:
        self.run(go.go_recover(self.field, self.wire))

    @rule(kind=st.sampled_from(sorted(INJURIES)), which=ANY)
    def injure(self, kind: str, which: int) -> None:
        task_id = self.some_task(which)
        if task_id is not None:
            self.run(injure(self.field, kind, task_id))

    @rule(seconds=TIMES)
    def nobody_does_anything(self, seconds: float) -> None:
        self.field.advance(seconds)

    @rule()
    def everyone_lives(self) -> None:
        self.run(live(self.field, 3 * LEASE.duration))

    def teardown(self) -> None:
        async def end() -> None:
            try:
                self.field.go.clear()
                await live(self.field, 100)
                nobody_is_left_behind(self.field)
                await self.field.check_everything()
            finally:
                await self.field.close()

        if self.field.workers:
            self.run(end())


def test_the_protocol_keeps_to_its_model(
    protocol_redis: RedisServer, fast_clock: None, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--chaos-long", default=False)
    with asyncio.Runner() as runner:
        machine = type("Machine", (LeaseProtocol,), {"addr": protocol_redis.addr, "runner": runner})
        if long:
            machine = seed(request.config.getoption("--chaos-seed", default=1))(machine)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=1_000 if long else 40,
                stateful_step_count=60 if long else 30,
                derandomize=not long,
                database=None,
                deadline=None,
                print_blob=False,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
