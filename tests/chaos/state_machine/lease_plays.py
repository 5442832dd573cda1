"""Short plays that bring a field into the situations that a random walk reaches seldom. Every step is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine import lease_rules_client as client
from chaos.state_machine import lease_rules_go as go
from chaos.state_machine import lease_rules_worker as ours
from chaos.state_machine.lease_actors import LEASE
from chaos.state_machine.lease_injuries import injure
from chaos.state_machine.lease_link import Loss
from chaos.state_machine.lease_living import live
from chaos.state_machine.lease_rules_upkeep import upkeep
from chaos.state_machine.lease_work import make_task

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field

    from runqy_worker.domain.task import Task

    Play = Callable[[Field], Awaitable[None]]

HIGH = "jobs.high"


async def _begin(field: Field, *kinds: str) -> tuple[Worker, Worker, list[Task]]:
    """Two workers; the first has claimed tasks of these kinds."""
    first, second = await field.join(), await field.join()
    await client.enqueue(field, [make_task(field, kind, HIGH, 1) for kind in kinds])
    tasks = await ours.claim(field, first, len(kinds))
    assert tasks is not None
    return first, second, tasks


async def _take_over_chores(field: Field, worker: Worker) -> None:
    """It does chores for long enough to become steward and to recover, if it may."""
    await upkeep(field, worker)
    field.advance(LEASE.recover_every)
    await upkeep(field, worker)


async def _all_void(field: Field, worker: Worker, tasks: list[Task]) -> None:
    """It tries everything with tasks that it held once."""
    await ours.renew(field, worker, tasks)
    for action in (Action.COMPLETE, Action.RETRY, Action.ARCHIVE, Action.DISCARD, Action.RELEASE):
        await ours.settle(field, worker, [Settlement(task, action, error="late") for task in tasks])


async def someone_else_has_it(field: Field) -> None:
    """A worker falls asleep, its tasks are recovered and claimed by another, it wakes up."""
    first, second, tasks = await _begin(field, "plain", "kept", "unique")
    first.asleep_until = field.now + 40
    await live(field, 40)
    assert await ours.claim(field, second, 3)
    await _all_void(field, first, tasks)


async def a_go_worker_has_it(field: Field) -> None:
    """Likewise, but a Go worker's recoverer and a Go worker were there first."""
    first, second, tasks = await _begin(field, "plain", "kept")
    wire = go.GoWire(field.db)
    field.advance(45)
    await go.go_recover(field, wire)
    field.advance(60)
    await upkeep(field, second)
    await go.go_claim(field, wire, HIGH, 2)
    assert field.go
    await _all_void(field, first, tasks)


async def nobody_has_it(field: Field) -> None:
    """Likewise, but the tasks wait again."""
    first, _, tasks = await _begin(field, "plain", "kept")
    first.asleep_until = field.now + 40
    await live(field, 40)
    await _all_void(field, first, tasks)


async def a_go_worker_falls_silent(field: Field) -> None:
    """Its tasks are left to it for as long as asynq says, then they are taken over."""
    await _begin(field, "plain")
    wire = go.GoWire(field.db)
    await client.enqueue(field, [make_task(field, kind, HIGH, 1) for kind in ("plain", "frail")])
    await go.go_claim(field, wire, HIGH, 2)
    field.go.clear()
    await live(field, 100)
    assert field.model.events["taken over from a Go worker"] == 2


async def leases_end_at_any_moment(field: Field) -> None:
    """Claims and renewals at whole seconds and between."""
    first, _, _ = await _begin(field, "plain", "kept")
    for seconds in (1, 0.001, 0.999, 2):
        field.advance(seconds)
        await ours.renew(field, first, list(first.hand.values()))


async def an_orphan_is_seen_twice(field: Field) -> None:
    """An id in active without a lease, as a wait leaves it behind for an instant."""
    await _begin(field, "plain")
    await live(field, 30)
    task = make_task(field, "plain", HIGH, 1)
    await client.enqueue(field, [task])
    await injure(field, "orphan", task.id.encode())
    await live(field, 30)
    assert field.model.events["swept back"] == 1


async def everyone_comes_back(field: Field) -> None:
    """Everyone stood still for a minute: first all renew, then what is left over is recovered."""
    first, second, _ = await _begin(field, "plain", "kept")
    await live(field, 30)
    field.advance(60)
    await _take_over_chores(field, second)
    await ours.renew(field, first, list(first.hand.values()))
    await live(field, 60)
    assert not field.model.events["recovered"]


async def a_big_batch_goes_back(field: Field) -> None:
    """Hundreds of releases at once: the first of them is first in line."""
    first, _, tasks = await _begin(field, *["plain"] * 700)
    await ours.settle(field, first, [Settlement(task, Action.RELEASE) for task in tasks])


async def a_go_worker_gives_back(field: Field) -> None:
    """It takes `pending_since` off and writes none: what else the hash says must be read all the same."""
    first, second, tasks = await _begin(field, "plain")
    await ours.settle(field, first, [Settlement(task, Action.RELEASE, rerun=True) for task in tasks])
    wire = go.GoWire(field.db)
    await go.go_claim(field, wire, HIGH, 1)
    await go.go_end(field, wire, "requeue", 1)
    [task] = await ours.claim(field, second, 1) or []
    assert task.reruns == 1


async def an_id_is_used_twice(field: Field) -> None:
    """The second task of an id is refused, whatever became of the first."""
    task = make_task(field, "unique", HIGH, 1)
    await client.enqueue(field, [task, task])
    worker = await field.join()
    await ours.claim(field, worker, 1)
    await client.enqueue(field, [task])


async def a_mend_is_lost(field: Field) -> None:
    """A sweep that could not mend is no reason to believe the next one, a moment later, at first sight."""
    worker = await field.join()
    await live(field, 30)
    orphans = [make_task(field, "plain", HIGH, 1) for _ in range(2)]
    await client.enqueue(field, orphans)
    await injure(field, "orphan", orphans[0].id.encode())
    await live(field, 3)
    await injure(field, "orphan", orphans[1].id.encode())
    while not worker.rig.lost:
        field.advance(0.5)
        await upkeep(field, worker, Loss.REQUEST, only="mend")
    await upkeep(field, worker)
    await live(field, 10)
    assert field.model.events["swept back"] == 2


async def a_chore_connects_again_before_a_long_sleep(field: Field) -> None:
    """Whoever slept must give the others time to renew, also if a new connection was made just before."""
    first, second, _ = await _begin(field, "plain")
    await upkeep(field, second)  # so that it is the steward
    await live(field, 30)
    field.advance(3)
    await upkeep(field, second, Loss.REPLY, only="forward")
    assert second.rig.lost
    await upkeep(field, second)
    field.advance(60)
    await _take_over_chores(field, second)
    await ours.renew(field, first, list(first.hand.values()))
    assert not field.model.events["recovered"]


PLAYS: tuple[Play, ...] = (
    someone_else_has_it,
    a_go_worker_has_it,
    nobody_has_it,
    a_go_worker_falls_silent,
    leases_end_at_any_moment,
    an_orphan_is_seen_twice,
    everyone_comes_back,
    a_big_batch_goes_back,
    a_go_worker_gives_back,
    an_id_is_used_twice,
    a_mend_is_lost,
    a_chore_connects_again_before_a_long_sleep,
)
