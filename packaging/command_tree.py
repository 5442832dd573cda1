"""The program's commands as plain data, read from the parsers that it parses its arguments with."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or what a command is given without one.

    Attributes:
        names: `("-h", "--help")`; none for what is given without an option.
        value: What follows, as a usage line writes it: `FILE`, `QUEUE [QUEUE ...]`, or nothing.
        required: Whether the command can't do without.
        help: What it is for.
    """

    names: tuple[str, ...]
    value: str
    required: bool
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """The program itself, or one of its commands.

    Attributes:
        name: As it is typed: `runqy-worker task show`.
        aliases: Other words for the last one of its name.
        description: What it does, in paragraphs.
        epilog: What its help says at the end, such as examples.
        arguments: In the order of its help.
        commands: Its own commands.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    epilog: str
    arguments: tuple[Argument, ...]
    commands: tuple[Command, ...]

    def walk(self) -> Iterator[Command]:
        """It and all commands below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What the parser takes, commands included; argparse has no public way to ask for it."""
    return parser._actions  # noqa: SLF001 - see above


def read(parser: argparse.ArgumentParser, aliases: tuple[str, ...] = ()) -> Command:
    """What `parser` understands."""
    arguments: list[Argument] = []
    commands: list[Command] = []
    for action in actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
            commands.extend(_commands(action))
        else:
            arguments.append(_argument(parser, action))
    return Command(
        parser.prog, aliases, parser.description or "", parser.epilog or "", tuple(arguments), tuple(commands)
    )


def _commands(action: argparse._SubParsersAction[argparse.ArgumentParser]) -> Iterator[Command]:
    names: dict[int, list[str]] = {}
    for name, parser in action.choices.items():
        names.setdefault(id(parser), []).append(name)
    for name, *aliases in names.values():
        yield read(action.choices[name], tuple(aliases))


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    formatter = argparse.HelpFormatter(parser.prog)
    names = tuple(action.option_strings)
    value = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper())  # noqa: SLF001 - as above
    return Argument(names, value, action.required, formatter._expand_help(action))  # noqa: SLF001 - as above
