"""The JSON lines between the worker and the task code: requests, answers, and the signals of the start.

Payloads and results pass through as bytes: a payload is checked once and never encoded again, a result is cut out of
its answer as it was written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from runqy_worker.domain.outcome import Completed, Failed, Outcome
from runqy_worker.executors.lines import Cut
from runqy_worker.executors.scraping import find_objects

if TYPE_CHECKING:
    from runqy_worker.domain.task import Task

Answer: TypeAlias = tuple[str, Outcome]
"""The task's id, and how its attempt ended."""

_ANSWER_KEYS = frozenset(("result", "error", "retry"))
_MOST_DIGITS = 4000
_NO_MESSAGE = "the task code gave no message"
_ID_AT_START = re.compile(rb'\s*\{\s*"task_id"\s*:\s*"([^"\\]*)"')

_encode = msgspec.json.Encoder().encode
_validate = msgspec.json.Decoder(msgspec.Raw).decode


class _Reply(msgspec.Struct, gc=False):
    task_id: str
    result: msgspec.Raw = msgspec.Raw()
    error: str | None = None
    retry: bool = False


class _LooseReply(msgspec.Struct):
    """An answer whose fields have types that nobody promised."""

    task_id: str | int
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    retry: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Reply).decode
_decode_loosely = msgspec.json.Decoder(_LooseReply).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Scraped:
    """An answer found in a line that was not simply an answer.

    Attributes:
        note: What had to be changed to make it readable; empty when nothing.
    """

    task_id: str
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True, slots=True)
class ReadySignal:
    """The process is ready; `concurrency` is None when it did not say how many tasks it works on at once."""

    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorSignal:
    """The process can't start, and says why."""

    error: str


def request_line(task: Task) -> bytes:
    """The line that hands a task to the process, with its line break."""
    return b"".join(
        (
            b'{"task_id":',
            _quote(task.id),
            b',"type":',
            _quote_known(task.type),
            b',"payload":',
            payload_json(task.payload),
            _end_of_request(task.retried, task.max_retry, task.queue),
        )
    )


def payload_json(payload: bytes) -> bytes:
    """The payload if it is JSON, on one line; else `null`."""
    try:
        _validate(payload)
        if not payload.isascii():
            payload.decode()
    except _UNREADABLE:
        if not _is_json(payload):
            return b"null"
    if b"\n" in payload or b"\r" in payload:
        return payload.replace(b"\n", b" ").replace(b"\r", b" ")
    return payload


def read_answer(line: bytes) -> Answer | None:
    """The answer that the line is, or None when it is something else, or an answer that needs a closer look."""
    try:
        reply = _decode(line)
    except _UNREADABLE:
        return None
    if reply.error is None and reply.result and line.isascii():
        return reply.task_id, Completed(bytes(reply.result))
    return _read_carefully(line, reply)


def scrape(line: bytes) -> list[Scraped | bytes]:
    """What is in a line that `read_answer` did not take: answers, and text between them that was printed."""
    pieces: list[Scraped | bytes] = []
    printed = 0
    if not isinstance(line, Cut):
        for start, end, content in find_objects(line, "task_id"):
            if not _looks_like_answer(content):
                continue
            answer = _scrape_object(line[start:end])
            if answer is None:
                continue
            if line[printed:start].strip():
                pieces.append(line[printed:start])
            pieces.append(answer)
            printed = end
        if not pieces:
            deep = _too_deep(line)
            if deep is not None:
                return [deep]
    if line[printed:].strip():
        pieces.append(line[printed:])
    return pieces


def task_id_at_start(line: bytes) -> str | None:
    """The task id of an answer of which only the beginning is known."""
    match = _ID_AT_START.match(line)
    return match.group(1).decode(errors="replace") if match else None


def read_signal(line: bytes) -> ReadySignal | ErrorSignal | None:
    """The start signal in the line, be it glued to a print; None when there is none."""
    for _start, _end, content in find_objects(line, "status"):
        status = content["status"]
        if status == "ready":
            number = content.get("concurrency")
            return ReadySignal(int(number) if isinstance(number, float) and number >= 1 else None)
        if status == "error":
            error = content.get("error")
            text = error.encode("latin-1").decode(errors="replace") if isinstance(error, str) else json.dumps(error)
            return ErrorSignal(text if error else _NO_MESSAGE)
    return None


def _quote(text: str) -> bytes:
    try:
        return _encode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(text).encode()


_quote_known = lru_cache(maxsize=1024)(_quote)


@lru_cache(maxsize=4096)
def _end_of_request(retried: int, max_retry: int, queue: str) -> bytes:
    return b',"retry_count":%d,"max_retry":%d,"queue":%b}\n' % (retried, max_retry, _quote(queue))


def _is_json(payload: bytes) -> bool:
    """Whether it is JSON after all: the fast check refuses half surrogate pairs, which are valid escapes."""
    try:
        json.loads(payload.decode(), parse_constant=_refuse, parse_int=float)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _read_carefully(line: bytes, reply: _Reply) -> Answer | None:
    """The part of `read_answer` for failures, missing results and text beyond ASCII."""
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            return None
    if reply.error is None and not reply.result and not _looks_like_answer(msgspec.json.decode(line)):
        return None
    return reply.task_id, _outcome(bytes(reply.result), reply.error, retry=reply.retry)


def _outcome(result: bytes, error: str | None, *, retry: bool) -> Outcome:
    """What an answer means.

    An empty error is a failure if a retry is asked for or nothing came out; some task code sends it with each success.
    """
    if error is None or (not error and not retry and result not in (b"", b"null")):
        return Completed(result or None)
    if retry:
        return Failed(f"{error or _NO_MESSAGE} (will retry)", retryable=True)
    return Failed(f"permanent failure: {error or _NO_MESSAGE}", retryable=False)


def _looks_like_answer(content: Any) -> bool:
    """Whether an object with a task id is an answer, and not a log record about the task."""
    return isinstance(content, dict) and (len(content) == 1 or not _ANSWER_KEYS.isdisjoint(content))


def _scrape_object(text: bytes) -> Scraped | None:
    answer = read_answer(text)
    if answer is not None:
        return Scraped(*answer)
    try:
        text.decode()
        reply = _decode_loosely(text)
        error = _error_text(msgspec.json.decode(reply.error) if reply.error else None)
        retry = bool(msgspec.json.decode(reply.retry)) if reply.retry else False
    except _UNREADABLE:
        return _scrape_by_hand(text)
    return Scraped(str(reply.task_id), _outcome(bytes(reply.result), error, retry=retry))


def _scrape_by_hand(text: bytes) -> Scraped | None:
    """An answer that is not quite JSON: NaN, control characters, bytes that are not UTF-8, half surrogate pairs."""
    notes: list[str] = []

    def as_null(constant: str) -> None:
        notes.append(f"{constant} became null")

    readable = text.decode(errors="replace")
    try:
        content = json.loads(readable, strict=False, parse_constant=as_null, parse_int=_number)
        result = json.dumps(content["result"]).encode() if "result" in content else b""
    except (ValueError, RecursionError):
        return None
    if "\ufffd" in readable:
        notes.append("bytes that are not UTF-8 became U+FFFD")
    task_id = content["task_id"]
    if not isinstance(task_id, str | int):
        return None
    outcome = _outcome(result, _error_text(content.get("error")), retry=bool(content.get("retry")))
    if isinstance(outcome, Failed):
        outcome.error = outcome.error.encode(errors="replace").decode()
    return Scraped(str(task_id), outcome, "; ".join(dict.fromkeys(notes)))


def _number(digits: str) -> int | float:
    """An integer, or for more digits than Python converts at once the nearest float."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _error_text(error: object) -> str | None:
    return error if error is None or isinstance(error, str) else json.dumps(error)


def _too_deep(line: bytes) -> Scraped | None:
    """A failure for an answer that is nested too deeply to be read."""
    try:
        _decode(line)
    except RecursionError:
        task_id = task_id_at_start(line)
        if task_id is not None:
            return Scraped(task_id, Failed("permanent failure: the answer is nested too deeply", retryable=False))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    return None
