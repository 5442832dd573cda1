"""Sets up the log: which form the lines have and where they go."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO

from runqy_worker.telemetry.formats import ConsoleFormatter, JournalFormatter, JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import LogConfig

LOGGER_NAME = "runqy_worker"


class _OurHandler(logging.StreamHandler[TextIO]):
    """Marked as ours, so that configuring a second time replaces it and nobody else's.

    Attributes:
        users: How many configured it and did not release it yet.
        before: Level and `propagate` of the logger before the first of them.
    """

    users = 0
    before = (logging.NOTSET, True)


def configure_logging(log: LogConfig, *, stream: TextIO | None = None) -> logging.Logger:
    """Make the logger `runqy_worker` write to `stream` as configured, and return it.

    What other libraries log (from WARNING) takes the same form, unless the root logger already has a handler.
    Calling it again replaces what it did before; `release_logging` undoes it.

    Args:
        log: Level and format.
        stream: Where lines go; stderr when None.
    """
    target = sys.stderr if stream is None else stream
    logger = logging.getLogger(LOGGER_NAME)
    root = logging.getLogger()
    handler = _OurHandler(target)
    former = _ours(logger)
    handler.users = former.users + 1 if former else 1
    handler.before = former.before if former else (logger.level, logger.propagate)
    _remove(former)
    handler.setFormatter(make_formatter(log.format, target))
    logger.addHandler(handler)
    logger.setLevel(log.level.upper())
    logger.propagate = False
    if not root.handlers:
        root.addHandler(handler)
    return logger


def release_logging() -> None:
    """Undo one `configure_logging`; with the last one the loggers are as they were before."""
    logger = logging.getLogger(LOGGER_NAME)
    handler = _ours(logger)
    if handler is None:
        return
    handler.users -= 1
    if handler.users == 0:
        _remove(handler)
        logger.setLevel(handler.before[0])
        logger.propagate = handler.before[1]


def _ours(logger: logging.Logger) -> _OurHandler | None:
    return next((handler for handler in logger.handlers if isinstance(handler, _OurHandler)), None)


def _remove(handler: _OurHandler | None) -> None:
    if handler is not None:
        logging.getLogger(LOGGER_NAME).removeHandler(handler)
        logging.getLogger().removeHandler(handler)


def make_formatter(
    name: str, stream: TextIO, environ: Mapping[str, str] = os.environ
) -> ConsoleFormatter | JournalFormatter | JsonFormatter:
    """The formatter called `auto`, `console`, `json` or `journal`, for lines that go to `stream`."""
    if name == "json":
        return JsonFormatter()
    if name == "journal" or (name == "auto" and goes_to_journal(stream, environ)):
        return JournalFormatter()
    return ConsoleFormatter(colour=wants_colour(stream, environ))


def goes_to_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the service manager connected this very stream to the journal.

    `JOURNAL_STREAM` alone proves nothing: it is inherited by processes whose output was redirected since.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # not backed by a descriptor, or closed
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour: on a terminal that can, unless `NO_COLOR` is set to anything."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()
