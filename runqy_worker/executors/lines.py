"""Cuts a stream of bytes into lines, in bulk and under a limit."""

from __future__ import annotations

HEAD = 64 * 1024
"""How much of a line that is too long is kept, at most."""


class Cut(bytes):
    """The beginning of a line that was longer than the limit; the rest of that line is skipped."""

    __slots__ = ()


class LineSplitter:
    """Takes chunks as they are read and gives whole lines, without their line breaks.

    Never holds more than the limit and one chunk. A line that arrives in many chunks is joined once.

    Args:
        limit: Longest line, in bytes. Of a longer one only a `Cut` is given, as soon as the limit is passed.

    Attributes:
        skipping: Whether the stream is inside a line of which a `Cut` was given already.
    """

    __slots__ = ("_chunks", "_held", "_limit", "skipping")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._held = 0
        self.skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order."""
        first: list[bytes] = []
        if self.skipping or self._held:
            end = data.find(b"\n")
            if end < 0:
                return [] if self.skipping else self._hold(data)
            if self.skipping:
                self.skipping = False
            else:
                self._chunks.append(data[:end])
                first = [self._fit(b"".join(self._chunks))]
                self._chunks.clear()
                self._held = 0
            data = data[end + 1 :]
        lines = data.split(b"\n")
        rest = lines.pop()
        if len(data) > self._limit:
            lines = [self._fit(line) for line in lines]
        if first:
            lines = first + lines
        if rest:
            lines += self._hold(rest)
        return lines

    def finish(self) -> list[bytes]:
        """The stream ended: the last line, if it has no line break."""
        last = [b"".join(self._chunks)] if self._held else []
        self._chunks.clear()
        self._held = 0
        self.skipping = False
        return last

    def _fit(self, line: bytes) -> bytes:
        return line if len(line) <= self._limit else Cut(line[: min(HEAD, self._limit)])

    def _hold(self, data: bytes) -> list[bytes]:
        """Keep the beginning of a line for later; a `Cut` when it is too long already."""
        self._chunks.append(data)
        self._held += len(data)
        if self._held <= self._limit:
            return []
        head = Cut(b"".join(self._chunks)[: min(HEAD, self._limit)])
        self._chunks.clear()
        self._held = 0
        self.skipping = True
        return [head]
