"""Sets up the log: which form the lines have and where they go."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from runqy_worker.telemetry.formats import ConsoleFormatter, JournalFormatter, JsonFormatter
from runqy_worker.telemetry.journal import SOCKET, JournalHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import LogConfig

LOGGER_NAME = "runqy_worker"


@dataclass(slots=True)
class _Setup:
    """What `configure_logging` did.

    Attributes:
        handler: Ours; configuring a second time replaces it and nobody else's.
        users: How many configured it and did not release it yet.
        before: Level and `propagate` of the logger before the first of them.
    """

    handler: logging.Handler
    users: int
    before: tuple[int, bool]


_setups: dict[logging.Logger, _Setup] = {}


def configure_logging(
    log: LogConfig, *, stream: TextIO | None = None, handler: logging.Handler | None = None
) -> logging.Logger:
    """Make the logger `runqy_worker` write to `stream` as configured, and return it.

    What other libraries log (from WARNING) takes the same form, unless the root logger already has a handler.
    Calling it again replaces what it did before; `release_logging` undoes it.

    Args:
        log: Level and format.
        stream: Where lines go; stderr when None.
        handler: Takes the lines instead.
    """
    logger = logging.getLogger(LOGGER_NAME)
    root = logging.getLogger()
    if handler is None:
        handler = make_handler(log.format, sys.stderr if stream is None else stream)
    former = _setups.get(logger)
    if former is None:
        _setups[logger] = _Setup(handler, 1, (logger.level, logger.propagate))
    else:
        _remove(former.handler)
        _setups[logger] = _Setup(handler, former.users + 1, former.before)
    logger.addHandler(handler)
    logger.setLevel(log.level.upper())
    logger.propagate = False
    if not root.handlers:
        root.addHandler(handler)
    return logger


def set_level(level: str) -> None:
    """Show lines from this severity on, where `configure_logging` is in force; other loggers are not ours to change."""
    logger = logging.getLogger(LOGGER_NAME)
    if logger in _setups:
        logger.setLevel(level.upper())


def release_logging() -> None:
    """Undo one `configure_logging`; with the last one the loggers are as they were before."""
    logger = logging.getLogger(LOGGER_NAME)
    setup = _setups.get(logger)
    if setup is None:
        return
    setup.users -= 1
    if setup.users == 0:
        del _setups[logger]
        _remove(setup.handler)
        logger.setLevel(setup.before[0])
        logger.propagate = setup.before[1]


def _remove(handler: logging.Handler) -> None:
    logging.getLogger(LOGGER_NAME).removeHandler(handler)
    logging.getLogger().removeHandler(handler)
    handler.close()


def make_handler(name: str, stream: TextIO, *, environ: Mapping[str, str] = os.environ) -> logging.Handler:
    """The handler for the form called `auto`, `console`, `json` or `journal`, and lines that go to `stream`.

    What is for the journal goes there field by field, over its own socket; where there is none, as lines with syslog's
    priorities.
    """
    for_journal = name == "journal" or (name == "auto" and goes_to_journal(stream, environ))
    if for_journal and Path(SOCKET).is_socket():
        return JournalHandler(SOCKET)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make_formatter(name, stream, environ))
    return handler


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
