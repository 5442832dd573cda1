"""Two steps of a deploy at the same time: one that fails ends the other, and neither is left running."""

from __future__ import annotations

import asyncio

import pytest

from runqy_worker.deployment.together import both


class Step:
    """Waits until told, then returns or raises."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.ended = ""

    async def run(self, result: object) -> object:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # tidying up
            self.ended = "cancelled"
            raise
        if isinstance(result, Exception):
            raise result
        self.ended = "done"
        return result


async def test_both_results_are_given_whichever_is_first() -> None:
    slow, quick = Step(), Step()
    together = asyncio.create_task(both(slow.run(1), quick.run("two")))
    quick.go.set()
    await asyncio.sleep(0)
    slow.go.set()
    assert await together == (1, "two")


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_failure_is_told_at_once_and_ends_the_other(failing: int) -> None:
    steps = [Step(), Step()]
    results: list[object] = [1, 2]
    results[failing] = ValueError("no")
    steps[failing].go.set()
    with pytest.raises(ValueError, match="no"):
        await both(steps[0].run(results[0]), steps[1].run(results[1]))
    assert steps[1 - failing].ended == "cancelled"


async def test_cancelling_ends_both() -> None:
    steps = [Step(), Step()]
    together = asyncio.create_task(both(steps[0].run(1), steps[1].run(2)))
    await asyncio.sleep(0)
    together.cancel()
    await asyncio.wait([together])
    assert together.cancelled()
    assert [step.ended for step in steps] == ["cancelled", "cancelled"]
