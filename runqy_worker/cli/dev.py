"""`runqy-worker dev`: task code, worker, server and Redis on one machine, in one terminal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from runqy_worker.cli import values
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    from runqy_worker.development.plan import Plan

_DESCRIPTION = """\
Runs task code the way a host does, with everything around it: an embedded Redis, a small control server and a worker,
which deploys the code from git into an environment of its own. Logs go to the terminal; Ctrl-C ends it all.

CODE is a directory, of which the files as they are now are run (committed or not, without what .gitignore excludes),
or the address of a git repository. What starts the code is main.py, app.py, worker.py or a package with a __main__.py,
unless --cmd says it."""

_EPILOG = """\
examples:
  runqy-worker dev examples/hello-long-running --payload '{"name": "Ada"}'
  runqy-worker dev . --watch --concurrency 4
  runqy-worker dev https://git.example.org/team/tasks.git --cmd "python -m tasks" --mode one_shot"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("code", metavar="CODE", help="directory or git address of the task code")
    parser.add_argument("--watch", action="store_true", help="deploy again whenever a file of the directory changes")
    parser.add_argument(
        "--mode",
        choices=("long_running", "one_shot"),
        default="long_running",
        help="one process for many tasks, or a fresh one for each (long_running)",
    )
    parser.add_argument("--cmd", metavar="COMMAND", help="what starts the code; no shell sees it")
    parser.add_argument(
        "--branch", default="", metavar="NAME", help="branch of the repository at a git address (its default branch)"
    )
    parser.add_argument("--queue", metavar="NAME", help="name of the parent queue (named after the code)")
    parser.add_argument("--concurrency", type=values.positive, default=1, metavar="N", help="tasks in hand at once (1)")
    parser.add_argument(
        "--redis", type=values.address, metavar="ADDR", help="host:port of a Redis to use instead of an embedded one"
    )
    parser.add_argument(
        "--payload", action="append", default=[], metavar="JSON", help="enqueue a task at the start (repeatable)"
    )
    parser.add_argument("--burst", action="store_true", help="end once the queue is empty")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="least severity shown (info)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start everything and serve until stopped."""
    problem = _problem(args)
    if problem:
        print(f"runqy-worker dev: {problem}", file=sys.stderr)
        return ExitCode.USAGE
    from runqy_worker.development.plan import make_plan  # noqa: PLC0415 - not for `--help`

    plan = make_plan(
        args.code,
        queue=args.queue,
        cmd=args.cmd,
        mode=args.mode,
        branch=args.branch,
        concurrency=args.concurrency,
        log_level=args.log_level,
        watch=args.watch,
        burst=args.burst,
        payloads=tuple(args.payload),
    )
    _run(plan, args.redis)
    return ExitCode.OK


def _problem(args: argparse.Namespace) -> str:
    """What is wrong with the arguments; empty when nothing is."""
    from pathlib import Path  # noqa: PLC0415 - likewise

    from runqy_worker.development.task_code import is_remote  # noqa: PLC0415 - likewise
    from runqy_worker.domain.queues import is_parent, is_valid  # noqa: PLC0415 - likewise

    if args.queue is not None and not (is_valid(args.queue) and is_parent(args.queue)):
        return f"--queue: found {args.queue!r}, expected letters, digits, _ and -"
    for payload in args.payload:
        try:
            json.loads(payload)
        except ValueError as error:
            return f"--payload: found {payload!r}, which is not JSON: {error}"
    if is_remote(args.code):
        return "--watch: needs a directory, not a git address" if args.watch else ""
    return "" if Path(args.code).is_dir() else f"{args.code}: is neither a directory nor a git address"


def _run(plan: Plan, redis_addr: str | None) -> None:
    """Everything around the worker, for as long as it serves."""
    import asyncio  # noqa: PLC0415 - likewise, and so are the others
    import tempfile  # noqa: PLC0415
    from contextlib import ExitStack  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from runqy_worker.cli.run import serve  # noqa: PLC0415
    from runqy_worker.development.embedded_redis import EmbeddedRedis  # noqa: PLC0415
    from runqy_worker.development.session import Session  # noqa: PLC0415

    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runqy-dev-")))
        addr = redis_addr or stack.enter_context(EmbeddedRedis(directory / "redis")).addr
        session = Session(plan, directory, addr, lambda text: print(text, file=sys.stderr))
        session.prepare()
        asyncio.run(session.serve(serve))
