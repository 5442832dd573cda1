"""`runqy-worker status`: how the workers of this host are doing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runqy_worker.cli.control_options import SOCKET, add_control_arguments, ask_worker, instance_socket
from runqy_worker.domain.errors import ControlError
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

INSTANCES_DIR = Path("/etc/runqy-worker/instances")
PATIENCE = 5.0
"""Seconds that one of several workers may take for its answer."""

_DESCRIPTION = """\
Lists the instances of this host, those that are stopped included; or with a NAME, --socket or --config tells all about
one worker. Exit code 69 says that the one asked for does not run."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    add_control_arguments(parser, name_help="tell all about this instance")
    parser.add_argument(
        "--instances-dir",
        metavar="DIR",
        default=str(INSTANCES_DIR),
        help=f"where instances are configured ({INSTANCES_DIR})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it and return the exit code."""
    one = any(value is not None for value in (args.name, args.socket, args.config, args.instance))
    if one:
        status = ask_worker(args, "status")["status"]
        if args.name is not None:
            _add_host_changes(status, args.name, Path(args.instances_dir))
        if args.json:
            print(json.dumps(status))
        else:
            from runqy_worker.cli.status_page import page  # noqa: PLC0415 - not for `--help`

            print(page(status))
        return ExitCode.OK
    found = instances(Path(args.run_dir), Path(args.instances_dir))
    if args.json:
        print(json.dumps(found))
    else:
        from runqy_worker.cli.status_page import overview  # noqa: PLC0415 - not for `--help`

        print(overview(found) if found else f"no instances: nothing in {args.run_dir}, nor in {args.instances_dir}")
    return ExitCode.OK


def instances(run_dir: Path, instances_dir: Path) -> list[dict[str, Any]]:
    """Each instance of this host, by name.

    Each has the keys `name`, `state` (`running`, `stopped`, or the reason of a `ControlError`), `socket`, `error` and
    `status`.
    """
    names = {path.parent.name for path in _glob(run_dir, f"*/{SOCKET}")}
    names |= {path.stem for path in _glob(instances_dir, "*.yml")}
    return [_instance(run_dir, instances_dir, name) for name in sorted(names)]


def _instance(run_dir: Path, instances_dir: Path, name: str) -> dict[str, Any]:
    from runqy_worker.service.control_client import ask  # noqa: PLC0415 - not for `--help`

    found: dict[str, Any] = {"name": name, "state": "running", "socket": None, "error": None, "status": None}
    try:
        path = instance_socket(run_dir, name)
        found["socket"] = str(path)
        found["status"] = ask(path, "status", patience=PATIENCE)["status"]
        _add_host_changes(found["status"], name, instances_dir)
    except ControlError as error:
        found["state"] = "stopped" if error.reason == "not_running" else error.reason
        found["error"] = str(error)
    return found


def _add_host_changes(status: dict[str, Any], name: str, instances_dir: Path) -> None:
    from runqy_worker.cli.host_changes import newer_than  # noqa: PLC0415 - not for `--help`

    status["restart_needed"] += newer_than(status["started_at"], name, instances_dir)


def _glob(directory: Path, pattern: str) -> list[Path]:
    try:
        return list(directory.glob(pattern))
    except OSError:  # may not be looked at: what is running there can't be asked, either
        return []
