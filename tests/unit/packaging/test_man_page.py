"""The man page: all that the program takes is in it, and formatters have nothing to say about it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from command_tree import read
from man_page import date_of_build, exit_meanings, render
from roff import bold, marked, plain
from support.tools import missing

from runqy_worker.cli.main import build_parser
from runqy_worker.config.catalog import SETTINGS, VARIABLES
from runqy_worker.service.exit_codes import ExitCode
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

PAGE = render("2026-01-31")
PROGRAM = read(build_parser())
CHECKS = {
    "groff": ("groff", "-man", "-Tutf8", "-ww", "-z"),
    "man": ("man", "--warnings", "--encoding=UTF-8", "--local-file", "--troff-device=utf8", "--ditroff"),
    "mandoc": ("mandoc", "-Tlint", "-Wwarning"),
}


def section(title: str) -> str:
    """The source of one section."""
    return PAGE.partition(f'.SH "{title}"\n')[2].partition("\n.SH ")[0]


def test_the_head_names_program_section_date_and_version() -> None:
    assert PAGE.startswith(rf'.TH "RUNQY\-WORKER" "1" "2026-01-31" "runqy\-worker {__version__}" "User Commands"')


def test_every_command_is_explained_with_all_that_it_takes() -> None:
    commands = section("COMMANDS")
    for command in PROGRAM.walk():
        if command is PROGRAM:
            continue
        told = commands.partition(f'.SS "{plain(command.name)}"\n')[2].partition("\n.SS ")[0]
        assert told, command.name
        for argument in command.arguments:
            names = [name for name in argument.names if name not in {"-h", "--help"}]
            assert [name for name in names if bold(name) not in told] == [], command.name
            last_word = marked(argument.help).split()[-1] if names or not argument.names else ""
            assert last_word in told, f"{command.name}: {argument.help}"
        assert [alias for alias in command.aliases if bold(alias) not in told] == [], command.name


def test_every_command_that_does_something_is_in_the_synopsis() -> None:
    calls = section("SYNOPSIS")
    assert [each.name for each in PROGRAM.walk() if not each.commands and bold(each.name) not in calls] == []


def test_every_variable_is_explained_with_its_setting() -> None:
    told = section("ENVIRONMENT")
    assert [name for name in VARIABLES if bold(name) not in told] == []
    assert [entry.key for entry in SETTINGS.values() if entry.setting.env and bold(entry.key) not in told] == []


def test_every_exit_code_is_explained() -> None:
    told = section("EXIT STATUS")
    meanings = exit_meanings()
    for code in ExitCode:
        assert f".TP\n{bold(str(int(code)))}\n" in told
        assert meanings[code].endswith(".")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGCONT, signal.SIGHUP])
def test_every_signal_that_the_worker_handles_is_explained(signum: signal.Signals) -> None:
    assert bold(signum.name) in section("SIGNALS")


def test_every_credential_is_named() -> None:
    told = section("FILES")
    names = [entry.setting.credential for entry in SETTINGS.values() if entry.setting.credential]
    assert names
    assert [name for name in names if bold(name) not in told] == []


def test_the_same_build_gives_the_same_page() -> None:
    assert render("2026-01-31") == PAGE


def test_a_page_is_dated_as_its_build() -> None:
    assert date_of_build("2026-01-31T12:00:00+00:00") == "2026-01-31"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date_of_build())


def test_what_is_typed_can_be_copied_to_a_shell() -> None:
    assert bold("--config '~/a'") == r"\fB\%\-\-config \%\(aq\(ti/a\(aq\fR"
    assert marked("say `a-b` with --json, not -x") == r"say \fB\%a\-b\fR with \fB\%\-\-json\fR, not \fB\%\-x\fR"
    assert marked("a well-known `c\\d`") == r"a well\-known \fB\%c\(rsd\fR"


@pytest.mark.parametrize("tool", CHECKS)
def test_formatters_have_no_complaint(tool: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        missing(f"{tool} is missing: apt-get install groff-base man-db mandoc")
    page = tmp_path / "runqy-worker.1"
    page.write_text(PAGE)
    done = subprocess.run([*CHECKS[tool], str(page)], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0), done.stdout[:2000]
    assert tool != "mandoc" or not done.stdout
