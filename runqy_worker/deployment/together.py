"""Two steps at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

A = TypeVar("A")
B = TypeVar("B")


async def both(first: Coroutine[None, None, A], second: Coroutine[None, None, B]) -> tuple[A, B]:
    """The results of both. When one fails, or the caller is cancelled, the other is cancelled and waited for.

    Raises:
        Exception: What the first of them to fail raised.
    """
    one, other = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        await asyncio.wait((one, other), return_when=asyncio.FIRST_EXCEPTION)
        for task in (one, other):
            if task.done():
                task.result()
        return one.result(), other.result()
    finally:
        for task in (one, other):
            task.cancel()
        await asyncio.wait((one, other))
