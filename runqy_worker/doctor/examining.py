"""Runs the checks, all at the same time, each with its own limit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.doctor.finding import Finding, warning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from runqy_worker.doctor.subject import Subject

    Look: TypeAlias = Callable[[Subject], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: For people and programs.
        look: What it does.
        needs_config: It is left out while the configuration can't be used.
    """

    name: str
    look: Look
    needs_config: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found; nothing when it does not concern this worker."""

    check: str
    findings: tuple[Finding, ...]


async def examine(subject: Subject, checks: Sequence[Check], *, limit: float) -> list[Result]:
    """Run the checks.

    Args:
        subject: What is examined.
        checks: In the order of the results.
        limit: Seconds for each.
    """
    wanted = [check for check in checks if subject.loaded is not None or not check.needs_config]
    found = await asyncio.gather(*(_one(check, subject, limit) for check in wanted))
    return [Result(check.name, tuple(findings)) for check, findings in zip(wanted, found, strict=True)]


async def _one(check: Check, subject: Subject, limit: float) -> list[Finding]:
    try:
        async with asyncio.timeout(limit):
            return await check.look(subject)
    except TimeoutError:
        advice = "look whether the network or the host is overloaded; --timeout gives each check longer"
        return [warning(f"no answer within {limit:g} s", advice)]
    except Exception as error:  # noqa: BLE001 - the boundary of a check: the others still have something to say
        return [warning(f"this check failed itself: {type(error).__name__}: {error}", "please report it")]
