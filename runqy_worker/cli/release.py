"""`runqy-worker release`: the deployed releases of a running worker, and the way back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runqy_worker.cli.control_options import add_control_arguments, ask_worker
from runqy_worker.cli.parsing import add_verb, add_verbs
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

_COMMIT = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the commands about releases."""
    verbs = add_verbs(parser)
    listing = add_verb(verbs, "list", "list the deployed releases of each queue, the latest first", aliases=["ls"])
    back = add_verb(verbs, "rollback", "go back to the good release before, which is still here, and wait for it")
    back.add_argument("--queue", metavar="PARENT", default="", help="only for this parent queue of the worker")
    for verb, run in ((listing, list_releases), (back, roll_back)):
        add_control_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.set_defaults(run=run)


def list_releases(args: argparse.Namespace) -> int:
    """Print them and return the exit code."""
    lanes = ask_worker(args, "release_list")["lanes"]
    if args.json:
        print(json.dumps(lanes))
        return ExitCode.OK
    from runqy_worker.cli.tables import table, when  # noqa: PLC0415 - msgspec is not for `--help`

    header = ("QUEUE", "RELEASE", "COMMIT", "REF", "MADE", "IN USE SINCE", "STATE")
    rows = [
        (
            *(lane["parent"], one["id"], one["commit"][:_COMMIT], one["ref"]),
            *(when(one["made_at"]), when(one["confirmed_at"]), _state(one)),
        )
        for lane in lanes
        for one in lane["releases"]
    ]
    print(table(header, rows))
    return ExitCode.OK


def roll_back(args: argparse.Namespace) -> int:
    """Ask for it and return the exit code."""
    answer = ask_worker(args, "rollback", queue=args.queue)
    print(json.dumps(answer["result"]) if args.json else answer["message"])
    return ExitCode.OK


def _state(release: dict[str, Any]) -> str:
    if release["in_use"]:
        return "in use"
    if release["rolled_back"]:
        return "rolled back"
    return "good" if release["good"] else "never ready"
