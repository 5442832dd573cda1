"""Machines in containers, by whatever Docker the environment leads to."""

from __future__ import annotations

import subprocess
import time

IMAGE = "runqy-molecule"
"""Images are `runqy-molecule:SUITE`; `images.py` makes them."""
BOOT = 60.0
_INIT = (
    # The credentials that systemd mounts reach a unit only where mounts are shared.
    "mount --make-rshared /; mount -o remount,bind,rw /sys/fs/cgroup; "
    'for tree in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$tree"; done; exec /lib/systemd/systemd'
)
_FLAGS = (
    # systemd makes control groups and mounts; the sandbox of a unit that has a user namespace needs SYS_PTRACE.
    *("--cgroupns", "private", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--stop-signal", "SIGRTMIN+3", "--network", "none"),
)


def run_container(container: str, hostname: str, suite: str) -> None:
    """Start a container whose systemd has booted when this returns.

    Raises:
        SystemExit: It did not boot; the text tells what Docker or the container said.
    """
    docker(
        "run", "--detach", "--name", container, "--hostname", hostname, *_FLAGS, f"{IMAGE}:{suite}", "sh", "-c", _INIT
    )
    deadline = time.monotonic() + BOOT
    state = ""
    while state not in {"running", "degraded"}:
        if time.monotonic() > deadline:
            raise SystemExit(
                f"{container} did not boot in {BOOT:.0f} s: {state}\n{try_docker('logs', container).stderr}"
            )
        time.sleep(0.2)
        state = try_docker("exec", container, "systemctl", "is-system-running").stdout.strip()


def stop_container(container: str) -> None:
    """End and remove a container, if it is there."""
    try_docker("rm", "--force", "--volumes", container)


def docker(*args: str) -> str:
    """Run docker, which must succeed; returns what it printed.

    Raises:
        SystemExit: It failed.
    """
    done = try_docker(*args)
    if done.returncode != 0:
        raise SystemExit(f"docker {' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def try_docker(*args: str) -> subprocess.CompletedProcess[str]:
    """Run docker."""
    return subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
