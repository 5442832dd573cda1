"""`runqy-worker version`: which build this is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runqy_worker.service.build import build_info

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Prints the version, the commit, when it was built, and the Python that runs it."
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    info = build_info()
    if args.json:
        print(json.dumps(info.as_dict()))
    else:
        print(f"runqy-worker {info.version} (commit {info.commit}, built {info.date}, {info.python})")
    return 0
