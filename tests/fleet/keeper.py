"""Boots machines and keeps them until it is told to end: the process behind `machines.py` where nspawn is the driver.

Arguments: the directory of the consoles' logs, and NAME=SUITE for each machine. Prints their pids once all are up.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from fleet.roots import prepared
from host.machine import Machine


def main() -> None:
    """Print `{name: pid}` as one line, then wait for SIGTERM; the machines end with this process in any case."""
    logs = Path(sys.argv[1])
    wanted = dict(argument.split("=", 1) for argument in sys.argv[2:])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with contextlib.ExitStack() as running:
        pids = {}
        for name, suite in wanted.items():
            machine = running.enter_context(Machine(prepared(suite), logs / f"{name}.console"))
            machine.run("hostname", name)
            pids[name] = machine.pid
        print(json.dumps(pids), flush=True)  # noqa: T201 - this is how it answers
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # who asked has gone by now
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
