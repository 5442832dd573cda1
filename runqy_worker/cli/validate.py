"""`runqy-worker validate`: check a configuration without running, without network, on any host."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.cli.config_arguments import add_credential_argument, no_file_hint
from runqy_worker.cli.parsing import DEFAULT_PATHS
from runqy_worker.config.loading import load_with_origins
from runqy_worker.deployment.queues_check import check_queues_file
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from runqy_worker.config.loading import Loaded

_DESCRIPTION = """\
Reports every problem at once, each with file and line, and exits with 78 when there is one. Nothing is contacted and
files that hold secrets are not read, so that a file can be checked before it is installed, also on another host.
The file of local.queues_file is checked too where it is there.

--config and --instance mean what they mean to `run`: the main file, and the instance whose file beside it,
instances/NAME.yml, is laid over it and must be there. With --fragment another file takes that one's place: so an
instance's file can be checked before it is installed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"the main file ({DEFAULT_PATHS})")
    overlay = parser.add_mutually_exclusive_group()
    overlay.add_argument(
        "--instance", metavar="NAME", help="lay instances/NAME.yml over it, which is beside it and must be there"
    )
    overlay.add_argument("--fragment", type=Path, metavar="FILE", help="lay this file over it instead")
    add_credential_argument(parser)
    parser.add_argument(
        "--partial", action="store_true", help="the file is completed elsewhere: check it, but require nothing"
    )
    parser.add_argument("--allow-unknown", action="store_true", help="only warn of unknown keys and variables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, print, and return the exit status: 0, or 78 for a configuration that can't be used."""
    try:
        loaded = load_with_origins(
            args.config,
            instance=args.instance,
            fragment=args.fragment,
            allow_unknown=args.allow_unknown,
            check_files=False,
            partial=args.partial,
            expected_credentials=args.credential,
            further=functools.partial(check_queues_file, partial=args.partial),
        )
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'s' if count > 1 else ''}", *no_file_hint(args.config), sep="\n", file=sys.stderr)
        return os.EX_CONFIG
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(_summary(loaded))
    return os.EX_OK


def _summary(loaded: Loaded) -> str:
    config = loaded.config
    files = " + ".join(map(str, loaded.files)) or "variables alone"
    queues = ", ".join(config.queues) or "none yet"
    source = config.local.queues_file or config.server.url or "no server yet"
    return f"ok: {files}: queues: {queues}; concurrency: {config.worker.concurrency}; definitions from: {source}"
