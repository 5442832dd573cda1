"""Writes the man page from the program's parsers and tables: `python packaging/man_page.py > runqy-worker.1`."""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command_tree import read
from man_tables import EXAMPLES, FILES, SEE_ALSO, SIGNALS, VARIABLES
from roff import Page, bold, italic, marked, plain

from runqy_worker.cli.main import PROGRAM, build_parser
from runqy_worker.config.catalog import SETTINGS
from runqy_worker.config.values import human
from runqy_worker.service import exit_codes
from runqy_worker.service.build import build_info
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    from command_tree import Argument, Command

SUMMARY = "queue worker daemon: runs tasks in supervised processes"
UNKNOWN_DATE = "1970-01-01"


def render(date: str) -> str:
    """The whole page, dated `2026-01-31` or the like."""
    program = read(build_parser())
    page = Page(PROGRAM, date=date, source=f"{PROGRAM} {build_info().version}", manual="User Commands")
    page.section("NAME")
    page.paragraph(rf"{plain(PROGRAM)} \- {plain(SUMMARY)}")
    page.section("SYNOPSIS")
    page.lines([_call(command) for command in program.walk() if not command.commands])
    page.section("DESCRIPTION")
    _prose(page, program.description)
    page.section("COMMANDS")
    for command in program.walk():
        if command is not program:
            _command(page, command)
    _environment(page)
    _files(page)
    page.section("SIGNALS")
    _items(page, SIGNALS)
    _exit_status(page)
    page.section("EXAMPLES")
    for text, commands in EXAMPLES:
        page.paragraph(marked(text))
        page.example(commands)
    page.section("SEE ALSO")
    page.paragraph(", ".join(bold(name) + rest for name, rest in (_reference(each) for each in SEE_ALSO)))
    return page.text()


def _reference(page: str) -> tuple[str, str]:
    name, bracket, rest = page.partition("(")
    return name, bracket + rest


def _call(command: Command) -> str:
    """How it is called, in a line: its options are explained where it is."""
    given = [_value(each.value) for each in command.arguments if not each.names]
    return " ".join([bold(command.name), "[" + italic("OPTION") + " ...]", *given])


def _value(text: str) -> str:
    """What follows an option: words in capitals stand for something, the rest is typed."""
    return "".join(
        italic(part) if part.isupper() else plain(part) for part in re.split(r"([A-Z][A-Z_]*)", text) if part
    )


def _command(page: Page, command: Command) -> None:
    page.subsection(command.name)
    _prose(page, command.description)
    if command.aliases:
        page.paragraph("Also called " + ", ".join(bold(alias) for alias in command.aliases) + ".")
    for argument in command.arguments:
        if "--help" not in argument.names:
            page.item(_tag(argument), marked(_sentence(argument.help)))
    if command.epilog:
        _prose(page, command.epilog)


def _sentence(text: str) -> str:
    """With a capital, unless it begins with what is typed so, and a full stop."""
    return f"{text[0].upper()}{text[1:]}." if text.split(maxsplit=1)[0].isalpha() else f"{text}."


def _tag(argument: Argument) -> str:
    if not argument.names:
        return _value(argument.value)
    named = ", ".join(bold(name) for name in argument.names)
    return f"{named} {_value(argument.value)}" if argument.value else named


def _prose(page: Page, text: str) -> None:
    """Paragraphs; the indented lines of one are shown as they stand."""
    for paragraph in text.strip().split("\n\n"):
        head, indented, rest = paragraph.partition("\n ")
        if head:
            page.paragraph(marked(head))
        if indented:
            page.example(f" {rest}")


def _environment(page: Page) -> None:
    page.section("ENVIRONMENT")
    page.paragraph(
        "Each variable sets the setting that is named with it; flags win over it. An empty one counts as unset."
    )
    for key, entry in SETTINGS.items():
        names = ", ".join(bold(name) for name in entry.setting.env)
        if names:
            page.item(names, marked(f"{entry.setting.doc} (`{key}`{_default(key)})"))
    page.paragraph("Variables that others set:")
    _items(page, VARIABLES)


def _default(key: str) -> str:
    value = human(SETTINGS[key].setting, SETTINGS[key].default)
    if value is None or value in ("", []):
        return ""
    return f"; `{str(value).lower() if isinstance(value, bool) else value}` by default"


def _files(page: Page) -> None:
    page.section("FILES")
    credentials = ", ".join(f"`{e.setting.credential}`" for e in SETTINGS.values() if e.setting.credential)
    for paths, text in FILES:
        page.item(", ".join(_path(path) for path in paths.split(", ")), marked(text.format(credentials=credentials)))


def _path(path: str) -> str:
    """A path, of which the parts in capitals stand for something."""
    parts = re.split(r"(NAME|CREDENTIAL)", path)
    return "".join(italic(part) if number % 2 else bold(part) for number, part in enumerate(parts) if part)


def _items(page: Page, table: tuple[tuple[str, str], ...]) -> None:
    for names, text in table:
        page.item(", ".join(bold(name) for name in names.split(", ")), marked(text))


def _exit_status(page: Page) -> None:
    page.section("EXIT STATUS")
    meanings = exit_meanings()
    for code in ExitCode:
        page.item(bold(str(int(code))), marked(meanings[code]))
    page.paragraph(
        "Under systemd the worker is started again, for ever and with growing delay, after all but 64 and 78, "
        "which time can't heal."
    )


def exit_meanings() -> dict[ExitCode, str]:
    """What each exit code means, from the texts below them in their module, which the interpreter does not keep.

    Raises:
        KeyError: A code has no text.
    """
    tree = ast.parse(inspect.getsource(exit_codes))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == ExitCode.__name__)
    texts = {
        member.targets[0].id: text.value.value
        for member, text in itertools.pairwise(body)
        if isinstance(member, ast.Assign)
        and isinstance(member.targets[0], ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    return {code: str(texts[code.name]) for code in ExitCode}


def date_of_build(moment: str = "") -> str:
    """The day of an ISO 8601 moment, else of this build, else one that nobody takes for real."""
    return next(day for day in (moment[:10], build_info().date[:10], UNKNOWN_DATE) if day[:1].isdigit())


def main() -> None:
    """Write the page to the standard output, dated as the build is unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", default="", help="date of the page: 2026-01-31")
    sys.stdout.write(render(date_of_build(parser.parse_args().date)))


if __name__ == "__main__":
    main()
