"""The payloads that `runqy-worker enqueue` is given: one by flag or file, or one per line of the standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


class PayloadError(ValueError):
    """A payload that can't be enqueued; the text says which and why."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A line with its own settings; what it leaves out is as the flags say. Durations in seconds."""

    payload: msgspec.Raw
    id: str | None = None
    type: str | None = None
    max_retry: int | None = None
    timeout: float | None = None
    deadline: float | None = None
    retention: float | None = None
    delay: float | None = None
    at: float | None = None
    unique: float | None = None
    headers: dict[str, str] | None = None

    def settings(self) -> dict[str, Any]:
        """What the line says beside its payload."""
        return {
            name: getattr(self, name)
            for name in self.__struct_fields__
            if name != "payload" and getattr(self, name) is not None
        }


def single(text: str, *, raw: bool) -> bytes:
    """The payload of `--payload`: JSON itself, `@FILE`, or `-` for the whole standard input.

    Raises:
        PayloadError: The file can't be read, or it is not JSON and `raw` is not set.
    """
    if text == "-":
        return _checked(sys.stdin.buffer.read(), "the standard input", raw=raw)
    if text.startswith("@"):
        try:
            return _checked(Path(text[1:]).read_bytes(), text[1:], raw=raw)
        except OSError as error:
            raise PayloadError(f"--payload: {text[1:]}: {error.strerror}") from None
    return _checked(text.encode(), "--payload", raw=raw)


def lines(source: BinaryIO, *, raw: bool, envelope: bool) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Payload and settings of each line that is not blank.

    Raises:
        PayloadError: A line is not what it should be. Nothing is read ahead of it.
    """
    for number, line in enumerate(source, 1):
        text = line.strip()
        if not text:
            continue
        where = f"line {number}"
        if not envelope:
            yield _checked(text, where, raw=raw), {}
            continue
        try:
            parsed = msgspec.json.decode(text, type=Envelope)
        except msgspec.DecodeError as error:
            raise PayloadError(f'{where}: {error}; expected an object such as {{"payload": ..., "id": ...}}') from None
        yield bytes(parsed.payload), parsed.settings()


def _checked(payload: bytes, where: str, *, raw: bool) -> bytes:
    if not raw:
        try:
            msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PayloadError(f"{where}: not JSON: {error} (--raw enqueues it all the same)") from None
    return payload
