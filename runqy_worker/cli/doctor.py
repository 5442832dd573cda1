"""`runqy-worker doctor`: what is wrong on this host, and what to do about it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.cli import values
from runqy_worker.cli.parsing import DEFAULT_PATHS
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from contextlib import AbstractContextManager

    from runqy_worker.doctor.examining import Check, Result
    from runqy_worker.doctor.subject import Subject
    from runqy_worker.service.instances.places import Places

_LIMIT = 20.0

_DESCRIPTION = """\
Looks at everything that a worker needs: its configuration, the permissions of its files, the server, Redis, the
repository, the interpreter, the package index, GPUs, the unit, the disk, the clock, and whether a restart is due. Each
finding comes with what to do about it. Nothing is changed.

Without NAME all instances are examined, or where there are none the worker of the configuration file. As root it sees
what the units' own user would see, and may read their secrets."""

_EPILOG = """\
Exit codes: 0 no problem was found (warnings do not count), 1 problems were found, 64 wrong arguments.

examples:
  runqy-worker doctor
  runqy-worker doctor inference --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("name", nargs="?", metavar="NAME", help="the instance to examine")
    parser.add_argument("--config", metavar="FILE", help=f"examine a worker with this file instead ({DEFAULT_PATHS})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--timeout", type=values.duration, default=_LIMIT, metavar="TIME", help=f"limit of each check ({_LIMIT:g}s)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="where the instances' files are, for tests (/)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine, print, and return the exit code."""
    from runqy_worker.doctor.checks import ALL, HOST  # noqa: PLC0415 - everything is loaded with it
    from runqy_worker.doctor.finding import Level  # noqa: PLC0415 - likewise
    from runqy_worker.doctor.preparing import of_file, of_instance  # noqa: PLC0415 - likewise
    from runqy_worker.doctor.report import as_json, as_text, count  # noqa: PLC0415 - likewise
    from runqy_worker.service.instances.places import Places  # noqa: PLC0415 - likewise

    places = Places(args.root.absolute())
    names = _names(args, places)
    examined: dict[str, list[Result]] = {}
    for name in names:
        examined[name] = _examine(of_instance(places.of(name)), ALL, args.timeout)
    if not names:
        examined[args.config or "the worker"] = _examine(of_file(args.config), ALL, args.timeout)
    examined["this host"] = _examine(of_file("/dev/null"), HOST, args.timeout)
    print(as_json(examined) if args.json else as_text(examined))
    return ExitCode.FAILURE if count(examined)[Level.PROBLEM] else ExitCode.OK


def _names(args: argparse.Namespace, places: Places) -> list[str]:
    from runqy_worker.service.instances.removing import unknown  # noqa: PLC0415 - likewise

    if args.name is None:
        return [] if args.config is not None else places.names()
    if args.name not in places.names():
        raise unknown(places, args.name)
    return [args.name]


def _examine(prepared: AbstractContextManager[Subject], checks: tuple[Check, ...], limit: float) -> list[Result]:
    from runqy_worker.doctor.examining import examine  # noqa: PLC0415 - likewise

    async def look(subject: Subject) -> list[Result]:
        try:
            return await examine(subject, checks, limit=limit)
        finally:
            await subject.close()

    with prepared as subject:
        return asyncio.run(look(subject))
