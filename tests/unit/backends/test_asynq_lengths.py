"""Which queues a claim asks."""

from __future__ import annotations

from support.fakes import FakeClock

from runqy_worker.backends.asynq.lengths import EMPTY_FOR, FEW, Lengths

MANY = [f"q{number}" for number in range(100)]


def test_a_single_queue_is_asked_always() -> None:
    lengths = Lengths(FakeClock())
    lengths.note(["a"], 0)
    assert lengths.choose(["a"], 5) == (["a"], ())


def test_where_nothing_is_known_all_are_asked_in_order() -> None:
    lengths = Lengths(FakeClock())
    assert lengths.choose(MANY, 5) == (MANY, ())
    lengths.note(MANY, 0)
    assert lengths.choose(MANY, 5) == (MANY, ())


def test_no_more_are_asked_than_should_be_needed() -> None:
    lengths = Lengths(FakeClock())
    lengths.note(["q0"], 100)
    assert lengths.choose(MANY, 5) == (["q0"], MANY[1:])


def test_a_queue_that_was_empty_is_passed_over_for_a_moment_only() -> None:
    clock = FakeClock()
    lengths = Lengths(clock)
    lengths.note(["a", "b"], 10)
    first, rest = lengths.choose(["a", "b"], 5)
    assert (list(first), list(rest)) == (["b"], ["a"])
    clock.advance(EMPTY_FOR * 1.01)
    first, rest = lengths.choose(["a", "b"], 5)
    assert (list(first), list(rest)) == (["a", "b"], [])


def test_few_at_once_while_there_is_much_to_do_and_the_others_if_that_was_not_enough() -> None:
    lengths = Lengths(FakeClock())
    lengths.note(["q99"], 10)
    first, rest = lengths.choose(MANY, 5)
    assert list(first) == MANY[:FEW]
    assert list(rest) == MANY[FEW:]
