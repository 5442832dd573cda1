"""A batch of outcomes that the backend answered in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.fakes import eventually

from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.outcome import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from support.engine_bench import MakeEngine

    from runqy_worker.domain.settlement import Settlement


async def test_what_was_answered_counts_and_new_outcomes_go_with_what_was_not(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_engine(slots=3) as bench:
        sent: list[list[str]] = []
        settle, stuck = bench.backend.settle, True

        async def settle_in_part(settlements: Sequence[Settlement]) -> list[bool]:
            sent.append([settlement.task.id for settlement in settlements])
            if not stuck:
                return await settle(settlements)
            others = [settlement for settlement in settlements if settlement.task.id != "large"]
            for settlement, flag in zip(others, await settle(others), strict=True):
                settlement.accepted = flag
            raise BackendUnavailableError("hung up")

        monkeypatch.setattr(bench.backend, "settle", settle_in_part)
        bench.backend.add("large", "small", "later")
        await eventually(lambda: len(bench.executor.tasks) == 3)
        bench.executor.end("large", Completed(b"1"))
        bench.executor.end("small", Completed(b"2"))
        await eventually(lambda: [seen.task.id for seen, _ in bench.listener.settled] == ["small"])
        bench.executor.end("later", Completed(b"3"))
        await eventually(lambda: [seen.task.id for seen, _ in bench.listener.settled] == ["small", "later"])
        stuck = False
        await eventually(lambda: len(bench.listener.settled) == 3)
        told = sum(ids.count("small") + ids.count("later") for ids in sent)
        assert told == 2, "what was answered was sent again"
        assert all(accepted for _, accepted in bench.listener.settled)
