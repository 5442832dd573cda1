"""What a child leaves behind when its process is gone, sorted by what can have happened to each task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runqy_worker.domain.outcome import Outcome, Released
from runqy_worker.executors.protocol import request_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runqy_worker.domain.task import Task
    from runqy_worker.executors.overtime import Doom


@dataclass(slots=True)
class Remains:
    """Unanswered tasks of a process that ended.

    Attributes:
        death: How it ended, as the beginning of a sentence, with its last words.
        asked: Why we ended it; empty when it ended by itself.
        decided: Tasks whose outcome was decided before.
        begun: Tasks that can have begun.
        read: Tasks whose lines it had read; a child that works on one task after the other did not begin them.
        unread: Tasks whose lines it never read.
        in_work: How many tasks it can have been working on, also those whose answer no longer counted.
    """

    death: str
    asked: str
    decided: list[tuple[Task, Outcome]] = field(default_factory=list)
    begun: list[Task] = field(default_factory=list)
    read: list[Task] = field(default_factory=list)
    unread: list[Task] = field(default_factory=list)
    in_work: int = 0

    @property
    def suspects(self) -> list[Task]:
        """Tasks that may have caused the process's death."""
        return self.begun + self.read

    @property
    def culprit(self) -> Task | None:
        """The task that was the only one in the process."""
        return self.suspects[0] if self.in_work == 1 and len(self.suspects) == 1 else None

    def released(self, reason: str) -> Iterator[tuple[Task, Outcome]]:
        """Every undecided task, to be given back."""
        for task in self.begun:
            yield task, Released(begun=True, reason=reason)
        for task in self.read + self.unread:
            yield task, Released(reason=reason)


def sort_remains(
    unanswered: Sequence[Task],
    doomed: Mapping[str, Doom],
    *,
    serial: bool,
    unread_bytes: int,
    death: str,
    asked: str,
) -> Remains:
    """Tell apart what a dead child was working on from what it never saw.

    Args:
        unanswered: In the order in which their lines were written.
        doomed: Those whose answer no longer counted.
        serial: Whether it worked on one after the other.
        unread_bytes: How much of what was written it never read, counted from the end.
        death: How it ended.
        asked: Why we ended it.
    """
    seen = len(unanswered)
    while seen and unread_bytes > 0:
        length = len(request_line(unanswered[seen - 1]))
        if unread_bytes < length:
            break
        unread_bytes -= length
        seen -= 1
    remains = Remains(death, asked, in_work=seen)
    for place, task in enumerate(unanswered):
        doom = doomed.get(task.id)
        if doom is not None:
            if doom.verdict is not None:
                remains.decided.append((task, doom.verdict))
        elif place >= seen:
            remains.unread.append(task)
        elif place == 0 or not serial:
            remains.begun.append(task)
        else:
            remains.read.append(task)
    return remains
