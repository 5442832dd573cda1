"""A day in miniature: workers, a Go worker, producers and operators on one Redis, with time made fast.

Every step is held against a model of the protocol. The long form goes on for a quarter of an hour (or
RUNQY_CHAOS_MINUTES) with up to 1,000 tasks per step, and then with few until a day of the clock in there is over.
"""

from __future__ import annotations

import os
import time
from importlib import resources
from typing import TYPE_CHECKING

from chaos.state_machine.lease_clock import PRELUDE, SHARED
from chaos.state_machine.lease_field import Field
from chaos.state_machine.lease_link import SCRIPTS
from chaos.state_machine.lease_living import finish
from chaos.state_machine.lease_report import figures_of, report
from chaos.state_machine.lease_walk import Walk, walk

from runqy_worker.backends.asynq.scripts import load, source_of

if TYPE_CHECKING:
    import pytest
    from support.redis_server import RedisServer

SHORT_STEPS = 1_200
LONG_MINUTES = 15.0
DAY = 24 * 3600
QUIET = 30


def test_the_scripts_run_as_they_are_shipped_but_for_the_clock(fast_clock: None) -> None:
    folder = resources.files("runqy_worker.backends.asynq").joinpath("lua")
    shared = folder.joinpath(SHARED).read_text()
    for name in SCRIPTS:
        shipped = folder.joinpath(f"{name}.lua").read_text().replace("--include misfit\n", shared)
        assert source_of(load(name).sha).decode() == PRELUDE + shipped


async def test_a_day_of_leases_keeps_every_promise(
    protocol_redis: RedisServer, fast_clock: None, request: pytest.FixtureRequest
) -> None:
    seed = request.config.getoption("--chaos-seed", default=1)
    long = request.config.getoption("--chaos-long", default=False)
    ends = time.monotonic() + 60 * float(os.environ.get("RUNQY_CHAOS_MINUTES", LONG_MINUTES))
    biggest, crowd = (1_000, 5_000) if long else (40, 200)
    field = Field(
        protocol_redis.addr, seed=seed, archive_limit=crowd // 10, ttl_archived=4 * 3600, always_full=not long
    )

    bustle = 20 if long else 6
    walker = Walk(field, seed, biggest=biggest, crowd=crowd, look_closely_every=50, bustle=bustle)

    def goes_on() -> bool:
        if not long:
            return field.model.events["steps"] < SHORT_STEPS
        if time.monotonic() < ends:
            return True
        walker.biggest, walker.bustle, walker.quiet = QUIET, 2, True
        return field.clock.passed < DAY

    try:
        await walk(field, walker, goes_on)
        hours = field.clock.passed / 3600
        await finish(field)
    finally:
        await field.close()
    report(figures_of(field, hours))
    assert field.model.gone
    assert field.model.again
