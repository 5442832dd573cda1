"""Asks the server what time it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.domain.clock import SharedClock


async def learn_time(link: Link, clock: SharedClock) -> None:
    """Set `clock` right. From then on whoever asks for a queue's stewardship hears the time with the answer."""
    asked_at = clock.monotonic()
    seconds, micros = await link.call("TIME")
    clock.hear(int(seconds) + int(micros) / 1e6, asked_at)
