"""The program: finds the command, imports only what it needs, and maps errors to exit codes."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.cli.parsing import Parser, add_verb, add_verbs
from runqy_worker.domain.errors import ConfigError, ExecutorStartError, RunqyError
from runqy_worker.service.exit_codes import ExitCode, for_error
from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

PROGRAM = "runqy-worker"


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand; its module offers `configure(parser)`, which sets the default `run`: `run(args) -> int`."""

    name: str
    module: str
    does: str


COMMANDS = {
    command.name: command
    for command in (
        Command("run", "run", "work on tasks until stopped (the default)"),
        Command("validate", "validate", "check the configuration"),
        Command("config", "config_show", "look at the configuration"),
        Command("dev", "dev", "run task code on this machine: embedded Redis, server and worker in one"),
        Command("status", "status", "tell how this host's workers are doing"),
        Command("deploy", "deploy", "let a running worker deploy the newest commit"),
        Command("release", "release", "look at deployed releases, go back to the one before"),
        Command("quiet", "quieting", "let a running worker claim nothing more"),
        Command("resume", "quieting", "let a quiet worker claim again"),
        Command("drain", "quieting", "let a running worker end its tasks and exit"),
        Command("enqueue", "enqueue", "add tasks to a queue"),
        Command("queue", "queue", "look at queues, pause and resume them"),
        Command("task", "task", "look at tasks, run, archive, delete or cancel them"),
        Command("instance", "instance", "add, list and remove this host's instances"),
        Command("doctor", "doctor", "look for what is wrong on this host, and say what to do about it"),
        Command("version", "version", "say which build this is"),
    )
}

_DESCRIPTION = """\
Takes tasks from a queue, runs them in supervised processes, and writes the outcome back.

Without a command it runs the worker: `runqy-worker --config config.yml` is short for
`runqy-worker run --config config.yml`. `-config FILE`, `-validate` and `-version` are understood too."""

_EPILOG = """\
`runqy-worker COMMAND --help` explains a command.

Exit codes: 0 done, 1 the answer is no, 64 wrong arguments, 69 server or Redis unreachable, 70 a fault of this
program, 75 try again later, 77 access refused, 78 the configuration can't be used, 80 degraded"""

_ONE_DASH = ("-config", "-validate", "-version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (the process's arguments by default) asks for, and return the exit code."""
    try:
        code = _dispatch(translate(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except SystemExit as error:  # argparse's way of saying that it has answered
        code = error.code if isinstance(error.code, int) else ExitCode.OK
    except RunqyError as error:
        _explain(error)
        code = for_error(error)
    except KeyboardInterrupt as error:
        code = for_error(error)
    except BrokenPipeError as error:
        _silence_stdout()
        code = for_error(error)
    except Exception as error:  # noqa: BLE001 - the boundary of the program: report all that is known, then end
        traceback.print_exc()
        print(f"{PROGRAM}: this is a fault of the program: {one_line(repr(error))}", file=sys.stderr)
        code = for_error(error)
    return int(code)


def translate(argv: Sequence[str]) -> list[str]:
    """The arguments with the command first, which may be implied, and options with two dashes.

    `-config FILE`, `-config=FILE`, `-validate` and `-version` are how the Go worker writes them; `help COMMAND` is
    what many programs take.
    """
    args = list(argv)
    if args[:1] == ["help"]:
        return translate([*args[1:], "--help"])
    if args and not args[0].startswith("-") and args[0] not in {"run", "validate"}:
        return args
    args = [f"-{arg}" if arg.partition("=")[0] in _ONE_DASH else arg for arg in args]
    if args and (args[0] in COMMANDS or args[0] in {"-h", "--help"}):
        return args
    if "--version" in args:
        return ["version"]
    if "--validate" in args:
        return ["validate", *(arg for arg in args if arg != "--validate")]
    return ["run", *args]


def build_parser(names: Iterable[str] | None = None) -> argparse.ArgumentParser:
    """The whole program's parser, with the options of the commands called `names` (all of them by default)."""
    parser = Parser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG)
    verbs = add_verbs(parser)
    wanted = set(COMMANDS if names is None else names)
    for name, command in COMMANDS.items():
        added = add_verb(verbs, name, command.does)
        if name in wanted:
            importlib.import_module(f"runqy_worker.cli.{command.module}").configure(added)
    return parser


def _dispatch(args: list[str]) -> int:
    """Parse and run; only the chosen command's module is imported."""
    parsed = build_parser(args[:1]).parse_args(args)
    return int(parsed.run(parsed))


def _explain(error: RunqyError) -> None:
    """One clear message for the operator."""
    if isinstance(error, ConfigError):
        lines = ["the configuration can't be used:", *(f"  {problem}" for problem in error.problems)]
    else:
        lines = str(error).splitlines() or [type(error).__name__]
    if isinstance(error, ExecutorStartError):
        lines.extend(f"  | {one_line(line)}" for line in error.output)
    print(f"{PROGRAM}: " + "\n".join(lines), file=sys.stderr)


def _silence_stdout() -> None:
    """Nobody reads it any more: keep the interpreter from failing again when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
