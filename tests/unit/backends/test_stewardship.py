"""A fleet's chores on a clock that the test moves: who does them, and how often anyone asks for anything."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.fakes import FakeClock, Recorder

from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.backends.asynq.stewardship import Stewardship
from runqy_worker.backends.asynq.upkeep import Upkeep
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.clock import SharedClock
from runqy_worker.domain.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg

KEYS = QueueKeys("jobs.a")
TERM = 5.0
TICK = 0.05
LEASE = LeaseConfig()
NAMES = {load(name).sha: name for name in ("steward", "forward", "recover", "sweep", "purge", "audit")}
NOTHING = {
    "forward": [0, -1, [], [], []],
    "recover": [0, 0, [], [], []],
    "sweep": [[], [], 0, 0],
    "purge": [0, 0, 0, 0],
}


class Server:
    """Locks that lapse, and otherwise nothing to do.

    Attributes:
        asked: How often each script was called, by whom.
        asked_at: When the lock was asked for.
        ahead: Seconds that its clock is ahead.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: Counter[tuple[str, FakeLink]] = Counter()
        self.asked_at: list[float] = []
        self.ahead = 0.0
        self.locks: dict[str, tuple[str, float]] = {}
        self.down = False
        self.refuses = ""

    def calls(self, script: str) -> int:
        return sum(count for (name, _), count in self.asked.items() if name == script)

    def those_who(self, script: str) -> set[FakeLink]:
        return {link for name, link in self.asked if name == script}

    def answer(self, link: FakeLink, command: Sequence[Any]) -> Any:
        now = self.clock.now + self.ahead
        time = [b"%d" % now, b"%d" % (now % 1 * 1e6)]
        plain = {"TIME": time, "SCAN": [b"0", []], "TYPE": b"none"}
        if command[0] in plain:
            return plain[command[0]]
        script = NAMES[command[1]]
        if script != "recover" or command[8]:  # with 0 leases to look at it only sees whether the server goes on
            self.asked[script, link] += 1
        if script == self.refuses:
            return BackendError("WRONGTYPE")
        return [self._lock(*command[3:4], *command[5:7]), *time] if script == "steward" else NOTHING[script]

    def _lock(self, key: str, name: str, term: int) -> int:
        now = self.clock.now + self.ahead
        self.asked_at.append(self.clock.now)
        holder, until = self.locks.get(key, ("", 0.0))
        if holder not in {"", name} and until > now:
            return int((until - now) * 1000) + 1
        self.locks[key] = (name, now + term / 1000) if term else ("", 0.0)
        return 0


class FakeLink:
    """A connection to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connected_at = server.clock.now

    async def connect(self) -> None: ...

    async def call(self, *command: Arg) -> Any:
        return (await self.pipeline([command]))[0]

    async def ask(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        return await self.pipeline(commands, keep_errors=True)

    async def pipeline(self, commands: Sequence[Sequence[Arg]], **_options: Any) -> list[Any]:
        if self.server.down:
            raise BackendUnavailableError("away")
        return [self.server.answer(self, command) for command in commands]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Server:
    return Server(clock)


def stewardship(server: Server, name: str) -> Stewardship:
    link = cast("Link", FakeLink(server))
    return Stewardship(
        [KEYS],
        link,
        name=name,
        lasts=TERM,
        listener=Recorder(),
        clock=SharedClock(server.clock),
        rng=random.Random(name),
    )


class Member:
    """One worker's upkeep, done when it is due."""

    def __init__(self, server: Server, seed: int) -> None:
        self.link = FakeLink(server)
        self.clock = server.clock
        self.due_at = 0.0
        self.upkeep = Upkeep(
            [KEYS],
            cast("Link", self.link),
            lease=LEASE,
            lifecycle=LifecycleConfig(),
            max_retry=3,
            listener=Recorder(),
            clock=server.clock,
            rng=random.Random(seed),
        )

    async def keep_up(self) -> None:
        if self.clock.now >= self.due_at:
            self.due_at = self.clock.now + await self.upkeep.run()


async def live(members: Sequence[Member], seconds: float, until: Callable[[], bool] = lambda: False) -> float:
    """Everyone does what is due for so long, or until the condition holds. Returns the seconds that passed."""
    clock = members[0].clock
    began = clock.now
    while clock.now < began + seconds and not until():
        clock.advance(TICK)
        for member in members:
            await member.keep_up()
    return clock.now - began


async def idle_calls(workers: int, seconds: float) -> Counter[str]:
    """What an idle fleet calls in so many seconds, after it has settled."""
    server = Server(FakeClock())
    members = [Member(server, seed) for seed in range(workers)]
    await live(members, 30)
    server.asked.clear()
    await live(members, seconds)
    return Counter({name: server.calls(name) for name in NAMES.values()})


async def test_chores_are_done_as_often_by_many_idle_workers_as_by_one() -> None:
    alone, crowd = await idle_calls(1, 60), await idle_calls(40, 60)
    for script in ("forward", "recover", "sweep", "purge"):
        assert alone[script] * 0.8 <= crowd[script] <= alone[script] * 1.2, script
    assert crowd["forward"] >= 60
    assert crowd["steward"] - alone["steward"] <= 39 * 60 / (
        TERM / 2
    )  # who is not the steward asks when a term is over


async def test_only_the_steward_forwards_and_recovers(server: Server) -> None:
    members = [Member(server, seed) for seed in range(10)]
    await live(members, 60)
    server.asked.clear()
    await live(members, 60)
    assert server.those_who("forward") == server.those_who("recover") == server.those_who("sweep")
    assert len(server.those_who("forward")) == 1


@pytest.mark.parametrize("workers", [2, 3, 30])
async def test_a_steward_that_falls_silent_is_replaced_within_a_term_and_a_fifth(server: Server, workers: int) -> None:
    members = [Member(server, seed) for seed in range(workers)]
    await live(members, 40)
    (steward,) = [member for member in members if member.upkeep._stewardship._since]
    members.remove(steward)
    server.asked.clear()
    took = await live(members, 60, until=lambda: bool(server.those_who("forward")))
    assert took <= TERM * 1.2 + TICK
    before = server.clock.now
    await live(members, 60, until=lambda: bool(server.those_who("recover")))
    assert server.clock.now - before <= 2 * LEASE.recover_every
    assert took + server.clock.now - before <= LEASE.duration  # so it waits for the lapse of the dead one's leases


async def test_those_who_wait_do_not_ask_in_the_same_instant(server: Server) -> None:
    members = [Member(server, seed) for seed in range(200)]
    await live(members, 40)
    survivors = [member for member in members if not member.upkeep._stewardship._since]
    server.asked_at.clear()
    await live(survivors, 4 * TERM)
    most = max(Counter(round(at / TICK) for at in server.asked_at).values())
    assert most <= len(survivors) / 5


async def test_a_sleeper_that_was_steward_learns_that_it_is_no_more(server: Server) -> None:
    first, second = stewardship(server, "first"), stewardship(server, "second")
    assert await first.held() == [KEYS]
    assert await second.held() == []
    server.clock.advance(TERM * 1.3)
    assert await second.held() == [KEYS]
    assert await first.held() == []
    assert 0 < first.pause() <= TERM * 1.2 + 0.01


async def test_no_answer_makes_anyone_wait_longer_than_the_longest_term(server: Server) -> None:
    first, second = stewardship(server, "first"), stewardship(server, "second")
    await first.held()
    server.ahead = -3600.0
    assert await second.held() == []
    assert second.pause() <= TERM * 1.2


async def test_given_up_it_is_the_next_ones_at_once(server: Server) -> None:
    first, second = stewardship(server, "first"), stewardship(server, "second")
    await first.held()
    await first.give_up()
    assert await second.held() == [KEYS]
    await first.give_up()  # not its to give up any more
    server.clock.advance(TERM * 0.7)
    assert await second.held() == [KEYS]
    assert await first.held() == []


@pytest.mark.parametrize("down", [True, False], ids=["refused", "never connected"])
async def test_giving_up_while_redis_is_away_is_quiet(server: Server, down: bool) -> None:
    ours = stewardship(server, "ours")
    await ours.held()
    server.down = down
    if not down:
        ours._link.connected_at = 0.0
        server.asked.clear()
    await ours.give_up()
    assert down or not server.asked


async def test_the_same_name_goes_on_where_it_left_off(server: Server) -> None:
    await stewardship(server, "ours").held()
    assert await stewardship(server, "ours").held() == [KEYS]


async def test_it_can_be_asked_for_how_long_it_has_been_held(server: Server) -> None:
    ours = stewardship(server, "ours")
    assert await ours.held(for_at_least=3) == []
    server.clock.advance(2)
    assert await ours.held(for_at_least=3) == []
    server.clock.advance(1)
    assert await ours.held(for_at_least=3) == [KEYS]


async def test_a_refusal_means_that_it_is_not_ours(server: Server) -> None:
    ours = stewardship(server, "ours")
    await ours.held()
    server.refuses = "steward"
    server.clock.advance(TERM / 2)
    assert await ours.held() == []
    assert 0 < ours.pause() <= TERM * 1.2
    server.refuses = ""
    server.clock.advance(20)
    assert await ours.held() == [KEYS]


async def test_every_answer_tells_the_time(server: Server) -> None:
    holder, other = stewardship(server, "holder"), stewardship(server, "other")
    server.ahead = 30.0
    for each in (holder, other):
        await each.held()
        assert each._clock.server_time() == pytest.approx(server.clock.now + 30)
    server.ahead = -40.0
    server.clock.advance(TERM * 1.2)
    await other.held()
    assert other._clock.server_time() == pytest.approx(server.clock.now - 40)


async def test_nobody_to_serve_means_nothing_to_ask(server: Server) -> None:
    idle = Stewardship(
        [],
        cast("Link", FakeLink(server)),
        name="idle",
        lasts=TERM,
        listener=Recorder(),
        clock=SharedClock(server.clock),
        rng=random.Random(1),
    )
    assert await idle.held() == []
    assert idle.pause() == TERM
    assert not server.asked


@pytest.mark.parametrize("ahead", [60.0, -60.0])
async def test_a_new_steward_that_saw_the_servers_clock_jump_gives_everyone_time_to_renew(
    server: Server, ahead: float
) -> None:
    first, second = Member(server, 1), Member(server, 2)
    await live([first, second], 40)
    if second.upkeep._stewardship._since:
        first, second = second, first
    server.ahead = ahead
    server.locks.clear()
    server.asked.clear()
    assert await live([second], 60, until=lambda: bool(server.calls("recover"))) >= LEASE.duration
    assert server.those_who("forward") == {second.link}
