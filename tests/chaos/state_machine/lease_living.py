"""What everyone who lives does all the time, and what must come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_actors import LEASE
from chaos.state_machine.lease_model import Violation, require
from chaos.state_machine.lease_rules_client import pause
from chaos.state_machine.lease_rules_upkeep import upkeep
from chaos.state_machine.lease_rules_worker import claim, renew, settle, stop_waiting

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from chaos.state_machine.lease_field import Field

NOTICED = 4 * LEASE.recover_every
"""Seconds within which a lease of ours that ran out is noticed, once its recoverers have been in touch for a lease."""
GO_NOTICED = 60
"""Likewise for a Go worker's, whose grace is 30 s."""
_MOST_ROUNDS = 2_000


async def live(field: Field, seconds: float, tick: float = 3.0) -> None:
    """For so long, everyone who lives renews and does the chores in time, and nothing else happens."""
    for worker in field.workers:
        if worker.asleep_until <= field.now:
            await stop_waiting(field, worker)
    ends = field.now + seconds
    while field.now < ends:
        field.advance(tick)
        await keep_up(field)


async def keep_up(field: Field) -> None:
    """Everyone who lives renews and does the chores, if it is time."""
    for worker in field.workers:
        if worker.asleep_until > field.now:
            continue
        if worker.hand and field.now - worker.renewed_at >= LEASE.renew_every:
            await renew(field, worker, list(worker.hand.values()))
        if worker.due_at <= field.now:
            await upkeep(field, worker)


def nobody_is_left_behind(field: Field) -> None:
    """Whatever is in active is held under a lease that lasts, or ran out too short a while ago to be noticed."""
    for name, queue in field.model.queues.items():
        for task_id in queue.active:
            score = queue.lease.get(task_id)
            if score is None:
                raise Violation(f"{task_id!r} of {name} is active, and nobody holds it")
            noticed = GO_NOTICED if score == int(score) else NOTICED
            if score + noticed < field.now:
                raise Violation(f"{task_id!r} of {name} is active, its lease ran out {field.now - score:.3f} s ago")


async def finish(field: Field) -> None:
    """The end of a run: nobody is injured any more, and every task comes to its end.

    Waiting, running and retried tasks are run and completed; kept ones are purged when their time is over. Then Redis
    holds nothing of any task.
    """
    field.note("the end begins")
    field.go.clear()
    for name, queue in field.model.queues.items():
        if queue.paused:
            await pause(field, name, paused=False)
    for worker in field.workers:
        worker.asleep_until = 0.0
    rounds = 0
    while field.unfinished() or any(facts.lost_at is not None for facts in field.model.tasks.values()):
        rounds += 1
        require(rounds < _MOST_ROUNDS, "tasks do not come to an end: %s", list(field.model.tasks)[:5])
        field.advance(3.0 if rounds % 16 else 600.0)
        await keep_up(field)
        for worker in field.workers:
            await claim(field, worker, 1_000)
            if worker.hand:
                done = [Settlement(task, Action.COMPLETE) for task in worker.hand.values()]
                await settle(field, worker, done)
    await field.check_everything()
    field.advance(100 * 86_400)
    for _ in range(_MOST_ROUNDS):
        if not field.model.tasks:
            break
        await live(field, 30)
    require(not field.model.tasks, "never purged: %s", list(field.model.tasks)[:5])
    await field.check_everything()
