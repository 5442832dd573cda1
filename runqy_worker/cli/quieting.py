"""`runqy-worker quiet`, `resume` and `drain`: let a running worker claim nothing, claim again, or end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runqy_worker.cli.control_options import add_control_arguments, ask_worker
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command that the parser is for."""
    verb = parser.prog.rsplit(maxsplit=1)[-1]
    parser.description = _DESCRIPTIONS[verb]
    add_control_arguments(parser)
    if verb == "drain":
        parser.add_argument("--wait", action="store_true", help="wait until the worker has ended")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run, verb=verb)


def run(args: argparse.Namespace) -> int:
    """Ask for it and return the exit code."""
    answer = ask_worker(args, args.verb, wait=getattr(args, "wait", False))
    if args.json:
        print(json.dumps({key: value for key, value in answer.items() if key not in {"v", "final", "ok"}}))
    else:
        print(_sentence(args.verb, answer))
    return ExitCode.OK


def _sentence(verb: str, answer: dict[str, object]) -> str:
    running = f"{answer['running']} running tasks"
    if verb == "drain":
        if not answer["ended"]:
            return f"draining: {running} may end, then the worker does"
        return (
            f"ended: {answer['completed']} tasks completed, {answer['failed']} failed, "
            f"{answer['released']} went back to their queues"
        )
    if not answer["changed"]:
        return "was quiet already" if verb == "quiet" else "was not quiet"
    return f"quiet: nothing more is claimed, {running} go on" if verb == "quiet" else "tasks are claimed again"


_DESCRIPTIONS = {
    "quiet": "Lets a running worker claim nothing more; what runs goes on. `resume` undoes it.",
    "resume": "Lets a worker that was made quiet claim tasks again.",
    "drain": (
        "Lets a running worker claim nothing more, end its running tasks within worker.shutdown_timeout, give back the "
        "rest, and exit, as SIGTERM does."
    ),
}
