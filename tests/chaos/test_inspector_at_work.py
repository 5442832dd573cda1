"""Inspectors pause, archive, run, delete and cancel at random while workers process a stream of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chaos.go_side import GoSide
from chaos.inspecting import GoInspector, Meddling, OurInspector, stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.arena import Arena


@pytest.fixture
def go(arena: Arena, asynq_program: Path) -> Iterator[GoSide]:
    side = GoSide(arena, asynq_program)
    yield side
    side.close()


def meddle_with_a_stream(arena: Arena, meddling: Meddling) -> None:
    for _ in range(arena.size(6, 120)):
        stream(arena, 150)
        meddling.meddle(40)
        meddling.pause(arena.rng.uniform(0.1, 0.4))
        meddling.meddle(20)
        if arena.rng.random() < 0.5:
            meddling.let_time_come()
    meddling.settle(seconds=600)
    meddling.race(arena.size(60, 2_000))
    meddling.settle(seconds=600)
    meddling.enter_results()
    arena.account()


def test_our_inspector_meddles_with_our_workers(arena: Arena) -> None:
    workers = [arena.quick(retry_delay=30, seed=arena.rng.randrange(2**31)) for _ in range(2)]
    for worker in workers:
        worker.wait_for_line("ready")
    with Meddling(arena, OurInspector(arena.redis.addr)) as meddling:
        meddle_with_a_stream(arena, meddling)
    assert [worker.stop() for worker in workers] == [0, 0]


@pytest.mark.interop
def test_both_inspectors_meddle_with_ours_and_go_workers(arena: Arena, go: GoSide) -> None:
    workers = [arena.quick(retry_delay=30, seed=arena.rng.randrange(2**31)) for _ in range(2)]
    server = go.serve("--retry-delay", "30s", concurrency=2)
    for worker in workers:
        worker.wait_for_line("ready")
    with Meddling(arena, OurInspector(arena.redis.addr), GoInspector(go.asynq)) as meddling:
        meddle_with_a_stream(arena, meddling)
    go.stop(server, "orderly end")
    assert [worker.stop() for worker in workers] == [0, 0]
