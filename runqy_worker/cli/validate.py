"""`runqy-worker validate`: check a configuration without running, without network, on any host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.cli.config_arguments import no_file_hint
from runqy_worker.cli.parsing import DEFAULT_PATHS
from runqy_worker.config.loading import DEFAULT_PATH, load_with_origins
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from runqy_worker.config.loading import Loaded

_DESCRIPTION = """\
Reports every problem at once, each with file and line, and exits with 78 when there is one. Nothing is contacted and
files that hold secrets are not read, so that a file can be checked before it is installed, also on another host.
With --instance, --config is that instance's fragment, laid over the installed main file (or --base)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"the file to check ({DEFAULT_PATHS})")
    parser.add_argument("--instance", metavar="NAME", help="check the configuration of this instance")
    parser.add_argument(
        "--base", type=Path, metavar="FILE", help=f"the main file below an instance ({DEFAULT_PATH} when it exists)"
    )
    parser.add_argument(
        "--credential",
        action="append",
        default=[],
        metavar="NAME",
        help="a systemd credential that the unit will provide, such as api-key (repeatable)",
    )
    parser.add_argument(
        "--partial", action="store_true", help="the file is completed elsewhere: check it, but require nothing"
    )
    parser.add_argument("--allow-unknown", action="store_true", help="only warn of unknown keys and variables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, print, and return the exit status: 0, or 78 for a configuration that can't be used."""
    main, fragment, instance = _files(args.config, args.instance, args.base)
    try:
        loaded = load_with_origins(
            main,
            instance=instance,
            fragment=fragment,
            allow_unknown=args.allow_unknown,
            check_files=False,
            partial=args.partial,
            expected_credentials=args.credential,
        )
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'s' if count > 1 else ''}", *no_file_hint(main), sep="\n", file=sys.stderr)
        return os.EX_CONFIG
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(_summary(loaded))
    return os.EX_OK


def _files(config: Path | None, instance: str | None, base: Path | None) -> tuple[Path | None, Path | None, str | None]:
    """The main file, the fragment to lay over it, and the instance whose fragment is to be looked up otherwise."""
    if instance is None:
        return (config, None, None) if base is None else (base, config, None)
    if config is None:
        return base, None, instance
    if base is None and os.path.exists(DEFAULT_PATH):  # noqa: PTH110 - never raises
        base = DEFAULT_PATH
    return (config, None, None) if base is None else (base, config, instance)


def _summary(loaded: Loaded) -> str:
    config = loaded.config
    files = " + ".join(map(str, loaded.files)) or "variables alone"
    queues = ", ".join(config.queues) or "none yet"
    source = config.local.queues_file or config.server.url or "no server yet"
    return f"ok: {files}: queues: {queues}; concurrency: {config.worker.concurrency}; definitions from: {source}"
