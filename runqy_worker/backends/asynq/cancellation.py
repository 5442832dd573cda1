"""Hears which running tasks are to be cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.connecting import BROKEN, open_wire
from runqy_worker.backends.asynq.errors import translate
from runqy_worker.backends.asynq.keys import CANCEL_CHANNEL
from runqy_worker.backends.asynq.subscription import listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.backends.asynq.options import RedisOptions


class Cancellations:
    """A subscription on a connection of its own.

    Args:
        options: How to connect; asked at every connect, since credentials change.
    """

    def __init__(self, options: Callable[[], RedisOptions]) -> None:
        self._options = options

    async def listen(self, on_cancel: Callable[[str], None]) -> None:
        """Call `on_cancel` with each task id that is published, until cancelled.

        Raises:
            BackendUnavailableError: The connection is gone, or can't be made. Call again to go on.
        """
        options = self._options()
        where = options.addr
        try:
            wire = await open_wire(options, "cancel")
            where = wire.where
            await listen(wire, CANCEL_CHANNEL, lambda task_id: on_cancel(task_id.decode(errors="replace")))
        except BROKEN as error:
            raise translate(error, where) from None
