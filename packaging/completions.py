"""Writes what shells complete the command line with: `python packaging/completions.py bash > runqy-worker`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shtab
from command_tree import actions

from runqy_worker.cli.main import COMMANDS, build_parser

PLACES = {
    "bash": "share/bash-completion/completions/runqy-worker",
    "zsh": "share/zsh/site-functions/_runqy-worker",
    "fish": "share/fish/vendor_completions.d/runqy-worker.fish",
}
"""Shell -> where it looks for such a file, below the prefix that the program is installed in."""

INSTANCES = "ls /run/runqy-worker 2>/dev/null"
"""Names the instances that run on this host."""

_KINDS = {
    "FILE": shtab.FILE,
    "PATH": shtab.FILE,
    "SOCKET": shtab.FILE,
    "DIR": shtab.DIRECTORY,
    "CODE": shtab.DIRECTORY,
    "INSTANCE": shtab.cmd(INSTANCES),
}
"""What a word in a usage line stands for -> what to complete it with."""


def render(shell: str) -> str:
    """The file for `shell`, one of `PLACES`."""
    parser = build_parser()
    # `runqy-worker --config FILE` is short for `runqy-worker run --config FILE`.
    importlib.import_module(f"runqy_worker.cli.{COMMANDS['run'].module}").configure(parser)
    _tell(parser)
    return str(shtab.complete(parser, shell)).rstrip() + "\n"


def _tell(parser: argparse.ArgumentParser) -> None:
    """Say of all that the parser and those of its commands take what it is completed with."""
    for action in actions(parser):
        if isinstance(action.choices, dict):
            for each in {id(child): child for child in action.choices.values()}.values():
                _tell(each)
        elif not action.choices and (kind := _KINDS.get(_stands_for(action))):
            action.complete = kind  # type: ignore[attr-defined] # where shtab looks for it


def _stands_for(action: argparse.Action) -> str:
    instance = action.dest == "instance" or (action.metavar == "NAME" and not action.option_strings)
    return "INSTANCE" if instance else str(action.metavar)


def main() -> None:
    """Write one file to the standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shell", choices=PLACES, help="which shell reads it")
    sys.stdout.write(render(parser.parse_args().shell))


if __name__ == "__main__":
    main()
