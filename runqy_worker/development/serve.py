"""The development control server as a program: `python -m runqy_worker.development.serve --queues-file FILE ...`.

For trying things out with a worker in another process or container. It keeps nothing, and only its keys guard it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from runqy_worker.config.addresses import is_host_port
from runqy_worker.development.control_server import ControlServer
from runqy_worker.development.snapshot import SourceSnapshot
from runqy_worker.domain.errors import RunqyError

API_KEY = "RUNQY_API_KEY"
CLIENT_KEY = "RUNQY_CLIENT_KEY"

_EPILOG = f"""\
{API_KEY} is the key of workers and {CLIENT_KEY} that of clients; one that is unset is made up and printed."""


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    args = _parser().parse_args()
    host, _, port = args.listen.rpartition(":")
    server = ControlServer(
        args.queues_file,
        redis_addr=args.redis,
        api_key=os.environ.get(API_KEY, ""),
        client_key=os.environ.get(CLIENT_KEY, ""),
        host=host.strip("[]"),
        port=int(port),
    )
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # before its threads start, which take this over
    try:
        if args.code is not None:
            SourceSnapshot(args.code, args.repository).take()
        server.definitions()
        with server:
            _introduce(server)
            signal.sigwait(stops)
    except (RunqyError, OSError) as error:
        print(f"control server: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runqy_worker.development.serve", epilog=_EPILOG)
    parser.description = "A small runqy server for trying things out: registration, enqueueing and lookups."
    parser.add_argument("--queues-file", type=Path, required=True, metavar="FILE", help="the queues; read at each call")
    parser.add_argument("--redis", type=_address, required=True, metavar="ADDR", help="host:port, as workers reach it")
    parser.add_argument(
        "--listen", type=_address, default="127.0.0.1:3000", metavar="ADDR", help="where to listen (127.0.0.1:3000)"
    )
    parser.add_argument(
        "--code", type=Path, metavar="DIR", help="put the files of this directory into a git repository"
    )
    parser.add_argument(
        "--repository", type=Path, default=Path("code"), metavar="DIR", help="where that repository is made (code)"
    )
    return parser


def _address(text: str) -> str:
    if not is_host_port(text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected host:port")
    return text


def _introduce(server: ControlServer) -> None:
    print(f"control server at {server.url}, queues: {', '.join(server.definitions().queues)}", flush=True)
    for name, key in ((API_KEY, server.api_key), (CLIENT_KEY, server.client_key)):
        if not os.environ.get(name):
            print(f"{name}={key}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
