"""Who hears what."""

from __future__ import annotations

from support.fakes import Recorder

from runqy_worker.domain.events import Fanout, Notice, Silent
from runqy_worker.domain.settlement import Action, Settlement
from runqy_worker.domain.task import Task

TASK = Task("1", "t", b"", "q")


class OnlyNotices(Silent):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def notice(self, notice: Notice) -> None:
        self.heard.append(notice.action)


def test_everybody_hears_what_they_listen_to_in_the_order_that_they_came() -> None:
    first, late, only = Recorder(), Recorder(), OnlyNotices()
    fanout = Fanout(first, only)
    fanout.task_started(TASK)
    fanout.add(late)
    fanout.task_settled(Settlement(TASK, Action.COMPLETE), accepted=True)
    fanout.task_output(TASK, "stdout", "hello")
    fanout.notice(Notice("ready", "x"))
    assert (first.started, late.started) == (["1"], [])
    assert [len(each.settled) for each in (first, late)] == [1, 1]
    assert first.output == late.output == [("1", "stdout", "hello")]
    assert first.actions() == late.actions() == only.heard == ["ready"]


def test_a_fanout_may_be_within_another() -> None:
    recorder = Recorder()
    Fanout(Fanout(recorder)).task_started(TASK)
    assert recorder.started == ["1"]


def test_only_those_who_do_something_with_it_are_called_for_a_task() -> None:
    fanout = Fanout(OnlyNotices(), Silent())
    assert [len(each) for each in (fanout._started, fanout._settled, fanout._output)] == [0, 0, 0]
