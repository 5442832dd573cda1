"""Redis did what it was asked, and the answer was lost: every task runs exactly once all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
from chaos.wires import KINDS, Mischief, Wires, finish, tell

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

Batches: TypeAlias = "list[list[dict[str, float]]]"


@pytest.fixture
def wires(arena: Arena) -> Iterator[Wires]:
    with Wires(arena) as made:
        yield made


def lossy_team(
    arena: Arena, wires: Wires, kinds: Collection[str], chance: float
) -> tuple[Mischief, list[WorkerProcess]]:
    """Two workers whose answers get lost."""
    mischief = Mischief(arena.rng, kinds, chance)
    arena.settings["lease"] = {"duration": "3s", "renew_every": "50ms", "recover_every": "300ms"}
    team = wires.team(2)
    for wired in team:
        wired.proxy.on_reply = mischief
    return mischief, [wired.worker for wired in team]


def feed(arena: Arena, mischief: Mischief, losses: int, batches: Batches) -> None:
    """Enqueue batch after batch, each when the one before is settled, until so many answers were lost."""
    while mischief.done.total() < losses:
        for batch in batches:
            arena.enter(batch)
        arena.settle()
    mischief.off = True
    tell(arena, mischief.done, "answers to a {} lost")
    arena.ledger.figures["answers lost"] = mischief.done.total()


BUSY: Batches = [[{"sleep": 0.002}] * 150]
SLOW: Batches = [[{"sleep": 0.03}] * 40]
UNEVEN: Batches = [[{"sleep": 0.0}] * 60 + [{"sleep": 0.06}] * 3] * 3
"""Short tasks have more of them kept at hand; then one that takes long has those given back."""
TRICKLE: Batches = [[{"sleep": 0.0}]] * 8


def lose(arena: Arena, wires: Wires, kind: str, batches: Batches, *, chance: float, losses: int) -> None:
    """The whole scenario for one kind of answers."""
    mischief, workers = lossy_team(arena, wires, {kind}, chance)
    feed(arena, mischief, losses, batches)
    finish(arena, workers)


def test_lost_answers_of_claims(arena: Arena, wires: Wires) -> None:
    lose(arena, wires, "claim", BUSY, chance=0.4, losses=arena.size(40, 400))


def test_lost_answers_of_settlements(arena: Arena, wires: Wires) -> None:
    lose(arena, wires, "settlement", BUSY, chance=0.4, losses=arena.size(40, 400))


def test_lost_answers_of_releases(arena: Arena, wires: Wires) -> None:
    lose(arena, wires, "release", UNEVEN, chance=0.5, losses=arena.size(15, 300))


def test_lost_answers_of_renewals(arena: Arena, wires: Wires) -> None:
    lose(arena, wires, "renewal", SLOW, chance=0.5, losses=arena.size(40, 600))


def test_lost_answers_of_waits(arena: Arena, wires: Wires) -> None:
    lose(arena, wires, "wait", TRICKLE, chance=0.5, losses=arena.size(15, 200))


def test_lost_answers_of_every_kind(arena: Arena, wires: Wires) -> None:
    mischief, workers = lossy_team(arena, wires, KINDS, 0.25)
    feed(arena, mischief, arena.size(80, 1_500), [*BUSY, *UNEVEN, *SLOW, *TRICKLE])
    finish(arena, workers)
