"""What task code prints: passed on line by line, without secrets, cut and limited so that it can't flood the log."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.executors.lines import Cut

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runqy_worker.domain.task import Task

TAIL = 20
"""Lines kept for error messages."""
LONGEST = 8 * 1024
"""Characters of a line that are shown."""
PER_SECOND = 1000
"""Lines passed on per second."""
MASK = "***"
SHORTEST_SECRET = 6
"""Shorter secrets are not masked: they would turn up inside ordinary words."""


class OutputLimit:
    """Lets so many lines pass in each second, and says afterwards how many it held back.

    One is shared by all processes of an executor.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._passed = 0
        self._held_back = 0
        self._window: asyncio.TimerHandle | None = None

    def admit(self) -> bool:
        """Whether one more line may pass."""
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(1.0, self._close_window)
        if self._passed < PER_SECOND:
            self._passed += 1
            return True
        self._held_back += 1
        return False

    def close(self) -> None:
        """Stop counting; report what was held back."""
        if self._window is not None:
            self._window.cancel()
            self._close_window()

    def _close_window(self) -> None:
        self._window = None
        held_back, self._held_back, self._passed = self._held_back, 0, 0
        if held_back:
            message = f"{held_back} lines of the task code's output were left out: more than {PER_SECOND} in a second"
            self._listener.notice(Notice("task_output_left_out", message, Level.WARNING, fields={"lines": held_back}))


class Masker:
    """Replaces secret values in text that people will see."""

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        self._secrets = sorted((line for line in lines if len(line) >= SHORTEST_SECRET), key=len, reverse=True)

    def mask(self, text: str) -> str:
        """The text with each secret replaced. A secret of several lines is recognised by each of them."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


class OutputLog:
    """The output of one process.

    Attributes:
        tail: Its last lines on both streams, oldest first.
        last_error_line: The last line on stderr that was not blank.
    """

    def __init__(self, listener: Listener, limit: OutputLimit, masker: Masker) -> None:
        self._listener = listener
        self._limit = limit
        self._masker = masker
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.last_error_line = ""

    def line(self, stream: str, raw: bytes, task: Task | None) -> None:
        """A line came on `stream` (`stdout` or `stderr`), while `task` ran if that is known."""
        cut = isinstance(raw, Cut) or len(raw) > 4 * LONGEST
        text = self._masker.mask(raw[: 8 * LONGEST].decode(errors="replace").rstrip("\r"))
        if cut or len(text) > LONGEST:
            text = text[:LONGEST] + " [cut]"
        self.tail.append(text)
        if stream == "stderr" and text.strip():
            self.last_error_line = text.strip()
        if self._limit.admit():
            self._listener.task_output(task, stream, text)

    def ending(self) -> str:
        """What to append to a message about the process's death: its last words, or nothing."""
        return f": {self.last_error_line}" if self.last_error_line else ""
