"""The time that a host shares with others through one server."""

from __future__ import annotations

from support.fakes import FakeClock

from runqy_worker.domain.clock import SharedClock


class SetClock(FakeClock):
    """One whose wall clock can be set."""

    ahead = 0.0

    def time(self) -> float:
        return self.now + self.ahead


def test_it_is_the_hosts_while_the_server_has_not_spoken() -> None:
    host = FakeClock()
    clock = SharedClock(host)
    assert (clock.time(), clock.server_time(), clock.monotonic()) == (host.time(), host.time(), host.monotonic())


def test_it_is_the_clock_that_is_behind() -> None:
    host = FakeClock()
    for ahead, earlier in ((300, 0), (-300, -300)):
        clock = SharedClock(host)
        clock.hear(host.time() + ahead, host.monotonic())
        assert clock.time() == host.time() + earlier
        assert clock.server_time() == host.time() + ahead


def test_the_servers_time_goes_on_with_the_monotonic_clock_whatever_becomes_of_the_hosts() -> None:
    host = SetClock()
    clock = SharedClock(host)
    clock.hear(1000.0, host.monotonic())
    host.advance(7)
    host.ahead = 86400
    assert clock.server_time() == clock.time() == 1007


def test_an_answer_that_took_long_does_not_replace_a_better_one() -> None:
    host = FakeClock()
    clock = SharedClock(host)
    clock.hear(1000.0, host.monotonic())
    asked_at = host.monotonic()
    host.advance(60)
    clock.hear(1000.1, asked_at)
    assert clock.server_time() == 1060
    clock.hear(2000.0, host.monotonic())
    assert clock.server_time() == 2000


def test_one_is_not_put_upon_another() -> None:
    host = FakeClock()
    clock = SharedClock.on(host)
    assert SharedClock.on(clock) is clock
