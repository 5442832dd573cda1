"""Which form the log takes, and who else is affected."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import socket
from pathlib import Path

import pytest
from support.tools import missing

from runqy_worker.config.model import LogConfig
from runqy_worker.telemetry.formats import ConsoleFormatter, JournalFormatter, JsonFormatter
from runqy_worker.telemetry.journal import JournalHandler
from runqy_worker.telemetry.logs import (
    configure_logging,
    make_formatter,
    make_handler,
    release_logging,
    wants_colour,
)


def test_it_writes_in_the_configured_form_from_the_configured_level(restored_logging: io.StringIO) -> None:
    logger = configure_logging(LogConfig(level="warning", format="json"), stream=restored_logging)
    logger.info("not shown")
    logger.warning("shown")
    assert [json.loads(line)["message"] for line in restored_logging.getvalue().splitlines()] == ["shown"]


def test_configuring_again_replaces_the_first(restored_logging: io.StringIO) -> None:
    configure_logging(LogConfig(), stream=restored_logging)
    logger = configure_logging(LogConfig(), stream=restored_logging)
    logger.info("once")
    assert restored_logging.getvalue().count("once") == 1


def test_other_peoples_handlers_stay(restored_logging: io.StringIO) -> None:
    logger = logging.getLogger("runqy_worker")
    theirs = logging.NullHandler()
    logger.addHandler(theirs)
    configure_logging(LogConfig(), stream=restored_logging)
    configure_logging(LogConfig(), stream=restored_logging)
    assert theirs in logger.handlers


def test_warnings_of_libraries_take_the_same_form(restored_logging: io.StringIO) -> None:
    logging.getLogger().handlers[:] = []
    configure_logging(LogConfig(format="json"), stream=restored_logging)
    logging.getLogger("some.library").warning("careful")
    document = json.loads(restored_logging.getvalue())
    assert (document["logger"], document["message"]) == ("some.library", "careful")


def test_a_root_logger_that_is_in_use_is_left_alone(restored_logging: io.StringIO) -> None:
    theirs = logging.NullHandler()
    logging.getLogger().handlers[:] = [theirs]
    configure_logging(LogConfig(), stream=restored_logging)
    assert logging.getLogger().handlers == [theirs]


def test_auto_means_journal_only_when_this_very_stream_goes_there() -> None:
    with Path(os.devnull).open("w") as stream, Path("/dev/zero").open("w") as other:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert isinstance(make_formatter("auto", stream, environ), JournalFormatter)
        assert isinstance(make_formatter("auto", other, environ), ConsoleFormatter)
        assert isinstance(make_formatter("auto", stream, {}), ConsoleFormatter)
        assert isinstance(make_formatter("json", stream, environ), JsonFormatter)


def test_the_journal_is_written_to_directly_where_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_logging: io.StringIO
) -> None:
    path = tmp_path / "socket"
    monkeypatch.setattr("runqy_worker.telemetry.logs.SOCKET", str(path))
    without = make_handler("journal", io.StringIO())
    assert isinstance(without.formatter, JournalFormatter)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        journal.settimeout(5)
        logger = configure_logging(LogConfig(format="journal"), stream=restored_logging)
        assert any(isinstance(handler, JournalHandler) for handler in logger.handlers)
        logger.info("there it is")
        assert b"MESSAGE=there it is\n" in journal.recv(4096)
        release_logging()


def test_auto_on_a_stream_without_a_descriptor_means_console() -> None:
    assert isinstance(make_formatter("auto", io.StringIO(), {"JOURNAL_STREAM": "1:2"}), ConsoleFormatter)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_only_on_terminals_that_want_it(environ: dict[str, str], expected: bool) -> None:
    try:
        main, secondary = pty.openpty()
    except OSError as error:
        missing(f"this host gives no pseudo terminal: {error}")
    with os.fdopen(secondary, "w") as terminal:
        assert wants_colour(terminal, environ) is expected
    os.close(main)
    assert not wants_colour(io.StringIO(), environ)
