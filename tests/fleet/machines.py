"""Boots the machines of a molecule scenario, and ends them: `python -m fleet.machines create|destroy ...`.

Two drivers: `nspawn` is quick and needs root, `docker` needs a Docker. What Ansible must know goes into an
inventory file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from fleet.containers import run_container, stop_container
from host.needs import missing

PATIENCE = 120.0
"""Seconds that machines may take to end."""
_STATE = "machines.json"


def main() -> None:
    """What the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m fleet.machines")
    parser.add_argument("verb", choices=("create", "destroy"))
    parser.add_argument("--driver", choices=("nspawn", "docker"), required=True)
    parser.add_argument("--state", type=Path, required=True, help="a directory for what must be remembered")
    parser.add_argument("--inventory", type=Path, help="the inventory file to write")
    parser.add_argument("--machine", action="append", default=[], metavar="NAME=SUITE", help="one of them")
    args = parser.parse_args()
    if args.verb == "destroy":
        destroy(args.state)
        return
    wanted = dict(machine.split("=", 1) for machine in args.machine)
    destroy(args.state)
    args.state.mkdir(parents=True, exist_ok=True)
    hosts = _boot(wanted, args.state) if args.driver == "nspawn" else _start(wanted, args.state)
    args.inventory.parent.mkdir(parents=True, exist_ok=True)
    args.inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))


def destroy(state: Path) -> None:
    """End the machines that were noted in `state`, if any."""
    noted = state / _STATE
    if not noted.exists():
        return
    told = json.loads(noted.read_text())
    for container in told.get("containers", ()):
        stop_container(container)
    keeper = told.get("keeper")
    if keeper and _is_keeper(keeper):
        os.kill(keeper, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while _is_keeper(keeper):
            if time.monotonic() > deadline:
                raise SystemExit(f"the machines of process {keeper} did not end in {PATIENCE:.0f} s")
            time.sleep(0.1)
    noted.unlink()


def _boot(wanted: dict[str, str], state: Path) -> dict[str, dict[str, object]]:
    if reasons := missing():
        raise SystemExit("machines can't be booted here: " + "; ".join(reasons))
    with (state / "keeper.log").open("w") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "fleet.keeper", str(state), *(f"{name}={suite}" for name, suite in wanted.items())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    (state / _STATE).write_text(json.dumps({"keeper": keeper.pid}))
    assert keeper.stdout is not None
    answer = keeper.stdout.readline()
    if not answer:
        keeper.wait()
        raise SystemExit(f"the machines did not boot:\n{(state / 'keeper.log').read_text()}")
    keeper.returncode = 0  # it goes on without us
    pids = json.loads(answer)
    return {
        name: {"ansible_connection": "community.docker.nsenter", "ansible_nsenter_pid": pid, **_PYTHON}
        for name, pid in pids.items()
    }


def _start(wanted: dict[str, str], state: Path) -> dict[str, dict[str, object]]:
    hosts: dict[str, dict[str, object]] = {}
    started: list[str] = []
    for name, suite in wanted.items():
        container = f"runqy-{os.getpid()}-{name}"
        started.append(container)
        (state / _STATE).write_text(json.dumps({"containers": started}))
        run_container(container, name, suite)
        hosts[name] = {"ansible_connection": "community.docker.docker", "ansible_host": container, **_PYTHON}
    return hosts


def _is_keeper(pid: int) -> bool:
    try:
        return b"fleet.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


_PYTHON = {"ansible_python_interpreter": "/usr/bin/python3", "ansible_user": "root"}

if __name__ == "__main__":
    main()
