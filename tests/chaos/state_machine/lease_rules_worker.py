"""What our workers do between two chores: wait, claim, settle, renew, release, stop waiting, die."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from chaos.state_machine.lease_claiming import explain_claim, limbo_of
from chaos.state_machine.lease_field import NAMES
from chaos.state_machine.lease_link import Loss
from chaos.state_machine.lease_model import require
from chaos.state_machine.lease_settling import apply
from chaos.state_machine.lease_taking import is_lease

from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field

    from runqy_worker.domain.settlement import Settlement

_MOST_PER_CALL = 500
_SPINS = 5


async def wait(field: Field, worker: Worker) -> None:
    """Wait until there may be something, or leave the wait open when there is nothing now."""
    field.note("%s waits", worker.name)
    worker.rig.begin()
    waiting = asyncio.ensure_future(worker.backend.wait())
    likely = any(queue.pending for queue in field.model.queues.values())
    for _ in range(200 if likely else _SPINS):
        await asyncio.sleep(0.0005)
        if waiting.done():
            break
    waiting.cancel()
    [outcome] = await asyncio.gather(waiting, return_exceptions=True)
    if isinstance(outcome, BackendUnavailableError):
        field.model.events["replies lost: wait"] += 1
    elif isinstance(outcome, Exception):
        raise outcome
    await field.check()


async def claim(field: Field, worker: Worker, want: int, loss: Loss | None = None, after: int = 0) -> list[Task] | None:
    """Ask for tasks. Returns None when the answer was lost."""
    field.note("%s claims %d %s", worker.name, want, loss)
    return await _claim(field, worker, want, loss, after)


async def stop_waiting(field: Field, worker: Worker, loss: Loss | None = None) -> None:
    """Give back what waits and unanswered claims hold."""
    field.note("%s stops waiting %s", worker.name, loss)
    if await _claim(field, worker, 0, loss, 0) is not None:
        tasks = field.model.tasks
        known = {each for each in limbo_of(field, worker) if tasks[each].row is not None and tasks[each].is_readable()}
        left = [each for each in known if tasks[each].lost_at is None]
        require(not left, "%s stopped waiting and still holds %s of an unanswered claim", worker.name, left)


async def _claim(field: Field, worker: Worker, want: int, loss: Loss | None, after: int) -> list[Task] | None:
    worker.rig.begin(loss, after)
    tasks: list[Task] | None = None
    try:
        if want:
            tasks = await worker.backend.claim(want)
        else:
            await worker.backend.stop_waiting()
            tasks = []
    except BackendUnavailableError:
        require(worker.rig.lost, "%s: a claim failed although nothing was lost", worker.name)
        field.model.events["replies lost: claim"] += 1
    await explain_claim(field, worker, want, tasks)
    return tasks


async def renew(field: Field, worker: Worker, tasks: Sequence[Task], loss: Loss | None = None) -> None:
    """Extend leases; what is told to be void is let go."""
    field.note("%s renews %d %s", worker.name, len(tasks), loss)
    worker.rig.begin(loss)
    flags: list[bool] | None = None
    try:
        flags = await worker.backend.renew(tasks)
    except BackendUnavailableError:
        require(worker.rig.lost, "%s: a renewal failed although nothing was lost", worker.name)
        field.model.events["replies lost: renew"] += 1
    valid = [field.model.is_valid(task.queue, task.id.encode(), task.token.encode()) for task in tasks]
    if flags is not None:
        require(flags == valid, "%s renewed %s: %s, expected %s", worker.name, tasks, flags, valid)
        worker.renewed_at = field.now
        for task, ours in zip(tasks, flags, strict=True):
            if not ours and worker.hand.get(task.id.encode()) is task:
                worker.forget(task)
                field.model.events["void: renewal"] += 1
    seen = await field.look({name: [task.id.encode() for task in tasks if task.queue == name] for name in NAMES})
    done = {id(task) for part in arrived(tasks, worker, loss) for task in part}
    for task, ours in zip(tasks, valid, strict=True):
        if ours and id(task) in done:
            task_id = task.id.encode()
            score = seen[task.queue].sets["lease"].get(task_id, 0.0)
            require(is_lease(field, score), "the renewed lease of %s ends at %s, it is %s", task_id, score, field.now)
            field.model.queues[task.queue].lease[task_id] = score
    field.confirm(seen)


async def settle(field: Field, worker: Worker, settlements: Sequence[Settlement], loss: Loss | None = None) -> None:
    """Write outcomes and releases; those that got no answer are kept, to be sent again."""
    actions = [(settlement.task.id, settlement.action.name) for settlement in settlements[:3]]
    field.note("%s settles %d: %s %s", worker.name, len(settlements), actions, loss)
    worker.rig.begin(loss)
    flags: list[bool] | None = None
    try:
        flags = await worker.backend.settle(settlements)
    except BackendUnavailableError:
        require(worker.rig.lost, "%s: a settlement failed although nothing was lost", worker.name)
        field.model.events["replies lost: settle"] += 1
        worker.unsent += settlements
    ids: dict[str, list[bytes]] = {queue: [] for queue in NAMES}
    for settlement in settlements:
        ids[settlement.task.queue].append(settlement.task.id.encode())
    seen = await field.look(ids)
    expected: dict[int, bool] = {}
    for part in arrived(settlements, worker, loss):
        expected |= zip(map(id, part), apply(field, worker, part, seen[part[0].task.queue].rows), strict=True)
    if flags is not None:
        wanted = [expected[id(settlement)] for settlement in settlements]
        require(flags == wanted, "%s settled %s: %s, expected %s", worker.name, actions, flags, wanted)
        field.model.events["void: settlement"] += flags.count(False)
        field.model.events["settlements written"] += flags.count(True)
    for settlement in settlements:
        if worker.hand.get(settlement.task.id.encode()) is settlement.task:
            worker.forget(settlement.task)
    field.confirm(seen)


def arrived(items: Sequence[Task] | Sequence[Settlement], worker: Worker, loss: Loss | None) -> list[list[Any]]:
    """In script calls, as they are sent, not too much per call; those that arrived.

    One queue comes after the other. The last settlements of a queue are sent first, so that its releases end up in
    front in their order.
    """
    parts: dict[str, list[list[Any]]] = {}
    for item in items:
        queue = item.queue if isinstance(item, Task) else item.task.queue
        chunks = parts.setdefault(queue, [[]])
        if len(chunks[-1]) == _MOST_PER_CALL:
            chunks.append([])
        chunks[-1].append(item)
    settles = bool(items) and not isinstance(items[0], Task)
    calls = [chunk for chunks in parts.values() for chunk in (reversed(chunks) if settles else chunks)]
    if not worker.rig.lost or loss is Loss.REPLY:
        return calls
    return [] if loss is Loss.REQUEST else calls[: max(1, len(calls) // 2)]


async def die(field: Field, worker: Worker) -> None:
    """Its connections break, what it held stays behind, and it is never seen again."""
    field.note("%s dies holding %d", worker.name, len(worker.hand))
    worker.rig.begin()
    for link in worker.backend._links:
        await link.abort()
    await worker.backend.close()
    field.workers.remove(worker)
    field.model.events["injury: worker killed"] += 1
    await field.check()
