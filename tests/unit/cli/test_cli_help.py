"""Every `--help`: complete, and worded as help."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

import pytest

from runqy_worker.cli.main import build_parser, main

if TYPE_CHECKING:
    from collections.abc import Iterator


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from walk(each)


PARSERS = {parser.prog: parser for parser in walk(build_parser())}


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_every_command_is_there() -> None:
    assert {"runqy-worker run", "runqy-worker config show", "runqy-worker task cancel"} < PARSERS.keys()
    assert len(PARSERS) >= 19


@pytest.mark.parametrize("prog", PARSERS)
def test_help_says_what_the_command_does_and_explains_each_option(
    prog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*prog.split()[1:], "--help"]) == 0
    shown = capsys.readouterr().out
    parser = PARSERS[prog]
    assert parser.description
    assert parser.description.split()[0] in shown
    for action in parser._actions:
        assert isinstance(action, argparse._SubParsersAction) or action.help, f"{action.dest} is not explained"
        for name in action.option_strings or [str(action.metavar or action.dest)]:
            assert re.search(rf"^ +(-\w, )?{re.escape(name)}\b", shown, re.MULTILINE), f"{name} is not listed"
        for word in (action.help or "").split():
            assert word in shown, f"{name}: {word!r} was cut"
        if isinstance(action, argparse._SubParsersAction):
            listed = {choice.dest: choice.help for choice in action._choices_actions}
            assert all(listed.values())
            assert set(listed) == {each.prog.split()[-1] for each in action.choices.values()}


@pytest.mark.parametrize("prog", PARSERS)
def test_help_fits_the_terminal_but_for_examples(prog: str) -> None:
    for line in PARSERS[prog].format_help().splitlines():
        assert len(line) <= 80 or line.startswith("  runqy-worker "), line


@pytest.mark.parametrize("prog", PARSERS)
def test_unknown_options_are_refused_by_the_command_they_were_given_to(
    prog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(action.metavar) for action in PARSERS[prog]._actions if not action.option_strings]
    argv = [*prog.split()[1:], *(word for word in words if word != "COMMAND"), "--no-such-option"]
    assert main(argv) == 64
    said = capsys.readouterr().err
    assert said.startswith("usage: runqy-worker")
    assert "COMMAND" in words or "unrecognized arguments: --no-such-option" in said
    assert "COMMAND" in words or f"`{prog} --help` explains" in said
