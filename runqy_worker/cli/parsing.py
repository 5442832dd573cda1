"""What all commands' parsers have in common: strictness, wording, layout."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn

from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence


DEFAULT_PATHS = "./config.yml, else /etc/runqy-worker/config.yml"
"""Where the configuration is looked for."""


class Parser(argparse.ArgumentParser):
    """Takes no abbreviated options, which would break when a new option is added, and exits with 64 on wrong ones."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "allow_abbrev": False, "formatter_class": _Layout})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As its base, but what is not known is refused here, by the command that it was given to."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and how to learn more."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n`{self.prog} --help` explains.\n")


def add_verbs(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Let a command have commands of its own."""
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str, *, aliases: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Add a command that `does` something; the sentence is its line in the list and its description."""
    return verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", aliases=aliases)


class _Layout(argparse.HelpFormatter):
    """Wraps each paragraph by itself, keeps those with indented lines, and breaks nothing at a hyphen."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            paragraph if "\n " in paragraph else textwrap.indent("\n".join(self._split_lines(paragraph, width)), indent)
            for paragraph in text.strip().split("\n\n")
        )
