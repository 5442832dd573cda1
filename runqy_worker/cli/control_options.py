"""Which running worker a command is for: an instance's name, a socket, or the configuration that it runs with."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runqy_worker.cli.parsing import DEFAULT_PATHS
from runqy_worker.domain.errors import ControlError
from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

RUN_DIR = Path("/run/runqy-worker")
"""Where each instance's runtime directory is."""
SOCKET = "control.sock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*\Z", re.ASCII)


def add_control_arguments(parser: argparse.ArgumentParser, *, name_help: str = "the worker's instance") -> None:
    """Add the arguments to a command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help=name_help)
    group = parser.add_argument_group("which worker, where it is no instance of this host's service")
    group.add_argument("--socket", metavar="PATH", help="path of its control socket")
    group.add_argument("--config", metavar="FILE", help=f"configuration file that it runs with ({DEFAULT_PATHS})")
    group.add_argument("--instance", metavar="NAME", help="overlay instances/NAME.yml beside the configuration file")
    group.add_argument("--run-dir", metavar="DIR", default=str(RUN_DIR), help=f"where instances run ({RUN_DIR})")


def socket_of(args: argparse.Namespace) -> Path:
    """The control socket that the arguments mean.

    Raises:
        ControlError: They name no worker, or a name can't be one.
        ConfigError: The configuration can't be used.
    """
    if args.name is not None:
        return instance_socket(Path(args.run_dir), args.name)
    if args.socket is not None:
        return Path(args.socket)
    from runqy_worker.config.loading import default_path, load_with_origins  # noqa: PLC0415 - yaml is not for `--help`
    from runqy_worker.config.places import control_socket  # noqa: PLC0415 - likewise

    if args.config is None and args.instance is None and default_path() is None:
        message = (
            "which worker? Name its instance, or give --socket PATH or --config FILE (`runqy-worker status` lists)"
        )
        raise ControlError(message, reason="not_running")
    loaded = load_with_origins(args.config, instance=args.instance, allow_unknown=True, partial=True, check_files=False)
    return control_socket(loaded.config, {})


def instance_socket(run_dir: Path, name: str) -> Path:
    """The socket of an instance. Raises `ControlError` for what can't be a name."""
    if _NAME.match(name) is None:
        message = f"found {name!r}, expected the name of an instance: letters, digits and . _ : @ -"
        raise ControlError(message, reason="not_running")
    return run_dir / name / SOCKET


def ask_worker(args: argparse.Namespace, verb: str, **arguments: Any) -> dict[str, Any]:
    """Ask the worker that the arguments mean, showing progress on stderr. See `control_client.ask`.

    Raises:
        ControlError: It can't be asked, or the answer is no.
    """
    from runqy_worker.service.control_client import ask  # noqa: PLC0415 - not for `--help`

    try:
        return ask(socket_of(args), verb, on_progress=None if args.json else show_progress, **arguments)
    except ControlError as error:
        if args.name is None or error.reason == "failed":  # then the worker itself names the queue
            raise
        raise ControlError(f"{args.name}: {error}", reason=error.reason) from None


def show_progress(progress: Mapping[str, Any]) -> None:
    """A line of progress for people."""
    message = progress.get("message")
    if message:
        print(one_line(str(message)), file=sys.stderr, flush=True)
