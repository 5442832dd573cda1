"""What a dead child leaves behind: who can have begun, who can be the cause, who never was read."""

from __future__ import annotations

import pytest

from runqy_worker.domain.outcome import Failed, Released
from runqy_worker.domain.task import Task
from runqy_worker.executors.overtime import NEVER, Doom
from runqy_worker.executors.protocol import request_line
from runqy_worker.executors.remains import Remains, sort_remains

TASKS = [Task(f"t{number}", "kind", b"1" * number, "q") for number in range(1, 5)]
LENGTHS = [len(request_line(task)) for task in TASKS]


def remains(
    tasks: list[Task], *, serial: bool = True, unread: int = 0, doomed: dict[str, Doom] | None = None
) -> Remains:
    return sort_remains(tasks, doomed or {}, serial=serial, unread_bytes=unread, death="process died", asked="")


def test_only_task_is_the_culprit() -> None:
    assert remains(TASKS[:1]).culprit is TASKS[0]
    assert remains([]).culprit is None


@pytest.mark.parametrize("serial", [True, False])
def test_among_several_there_is_no_culprit_but_suspects(serial: bool) -> None:
    left = remains(TASKS, serial=serial)
    assert left.culprit is None
    assert left.suspects == TASKS
    assert left.in_work == 4


def test_serial_child_began_the_first_only() -> None:
    left = remains(TASKS)
    assert (left.begun, left.read) == (TASKS[:1], TASKS[1:])
    assert [outcome for _, outcome in left.released("why")] == [
        Released(begun=True, reason="why"),
        *[Released(begun=False, reason="why")] * 3,
    ]
    assert remains(TASKS, serial=False).begun == TASKS


def test_lines_that_were_never_read_are_counted_from_the_end() -> None:
    left = remains(TASKS, unread=LENGTHS[3] + LENGTHS[2])
    assert left.unread == TASKS[2:]
    assert left.suspects == TASKS[:2]
    half_read = remains(TASKS, unread=LENGTHS[3] + LENGTHS[2] - 1)
    assert half_read.unread == TASKS[3:]
    all_unread = remains(TASKS, unread=sum(LENGTHS))
    assert (all_unread.unread, all_unread.in_work, all_unread.culprit) == (TASKS, 0, None)
    assert remains(TASKS, unread=LENGTHS[3] + LENGTHS[2] + LENGTHS[1]).culprit is TASKS[0]


def test_decided_tasks_are_no_suspects_but_share_the_blame() -> None:
    verdict = Failed("timeout")
    left = remains(TASKS[:2], serial=False, doomed={"t1": Doom(TASKS[0], verdict, NEVER)})
    assert left.decided == [(TASKS[0], verdict)]
    assert left.suspects == [TASKS[1]]
    assert left.culprit is None
    silent = remains(TASKS[:1], doomed={"t1": Doom(TASKS[0], None, NEVER)})
    assert (silent.decided, silent.suspects, silent.in_work) == ([], [], 1)
