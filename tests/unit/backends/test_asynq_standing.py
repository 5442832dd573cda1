"""Which queues are asked and waited on."""

from __future__ import annotations

from support.fakes import FakeClock, Recorder

from runqy_worker.backends.asynq.standing import Standing
from runqy_worker.domain.errors import BackendError


def test_a_paused_queue_is_not_waited_on_but_asked_every_second() -> None:
    clock, recorder = FakeClock(), Recorder()
    standing = Standing(clock, recorder)
    standing.set_paused("a", paused=True)
    assert (standing.is_open("a"), standing.is_claimable("a"), standing.is_paused("a")) == (False, False, True)
    clock.advance(1.1)
    assert (standing.is_open("a"), standing.is_claimable("a")) == (False, True)
    standing.set_paused("a", paused=True)
    assert not standing.is_claimable("a")
    standing.set_paused("a", paused=False)
    assert standing.is_open("a")
    assert recorder.actions() == ["queue_paused", "queue_resumed"]


def test_a_refused_queue_is_left_alone_for_a_while() -> None:
    clock, recorder = FakeClock(), Recorder()
    standing = Standing(clock, recorder)
    standing.refuse("a", BackendError("WRONGTYPE"))
    assert not standing.is_open("a")
    assert not standing.is_claimable("a")
    assert standing.is_open("b")
    clock.advance(31)
    assert standing.is_open("a")
    assert standing.is_claimable("a")
    assert recorder.actions() == ["queue_refused"]


def test_a_queue_without_memory_to_wait_is_claimed_from_all_the_same() -> None:
    clock, recorder = FakeClock(), Recorder()
    standing = Standing(clock, recorder)
    for _ in range(2):
        standing.set_memory_full("a", BackendError("OOM"))
        assert (standing.is_waitable("a"), standing.is_open("a"), standing.is_claimable("a")) == (False, True, True)
        assert standing.is_waitable("b")
        clock.advance(5.1)
        assert standing.is_waitable("a")
    for _ in range(2):
        standing.set_memory_full("a", None)
    assert standing.is_waitable("a")
    assert recorder.actions() == ["memory_full", "memory_free"]
