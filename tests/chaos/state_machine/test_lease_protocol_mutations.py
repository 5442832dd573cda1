"""The model notices when a guard of the protocol is missing: each is taken out of a copy, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chaos.state_machine.lease_clock import scripts_on_our_clock
from chaos.state_machine.lease_field import Field
from chaos.state_machine.lease_model import Violation
from chaos.state_machine.lease_mutations import MUTATIONS
from chaos.state_machine.lease_plays import PLAYS
from chaos.state_machine.lease_walk import Walk, walk

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.state_machine.lease_plays import Play
    from support.redis_server import RedisServer

STEPS = 6_000


def _field(server: RedisServer) -> Field:
    return Field(server.addr, seed=5, archive_limit=20, ttl_archived=3600, always_full=True)


def _goes_on(field: Field) -> bool:
    return field.model.events["steps"] < STEPS


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
async def test_the_play_keeps_to_the_model(play: Play, protocol_redis: RedisServer, fast_clock: None) -> None:
    field = _field(protocol_redis)
    try:
        await play(field)
        await field.check_everything()
    finally:
        await field.close()


@pytest.mark.parametrize("mistake", MUTATIONS)
async def test_the_machine_notices(
    mistake: str, protocol_redis: RedisServer, links: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation = MUTATIONS[mistake]
    for target, name, value in mutation.patches:
        monkeypatch.setattr(target, name, value)
    with scripts_on_our_clock(tmp_path, mutation.edits):
        field = _field(protocol_redis)
        walker = Walk(field, 5, biggest=12, crowd=60, look_closely_every=10)
        try:
            run = mutation.play(field) if mutation.play else walk(field, walker, lambda: _goes_on(field))
            with pytest.raises(Violation):
                await run
        finally:
            await field.close()
