"""`runqy-worker deploy`: let a running worker deploy the newest commit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runqy_worker.cli.control_options import add_control_arguments, ask_worker
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Lets a running worker ask the server and the repository anew, deploy the newest commit, and switch to it. When that
fails the old release goes on serving. Settings that can change while it works are taken over, too.

With --wait the exit code is the deploy's: 0 when the newest commit serves, 75 when it does not, with the reason on
stderr; 69 when no worker is running, 77 when you may not ask."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    add_control_arguments(parser)
    parser.add_argument("--wait", action="store_true", help="wait for the outcome, and show what is done")
    force = "start new processes also when nothing is new, and deploy a release that was rolled back"
    parser.add_argument("--force", action="store_true", help=force)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask for it and return the exit code."""
    answer = ask_worker(args, "deploy", wait=args.wait, force=args.force)
    if args.json:
        print(json.dumps(answer.get("result", {"begun": True})))
    elif not args.wait:
        print("deploying; `runqy-worker status` tells what came of it")
    else:
        print(answer["message"])
    return ExitCode.OK
