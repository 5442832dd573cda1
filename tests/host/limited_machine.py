"""A booted Debian in which limits on memory and on the number of processes hold: a container that runs systemd."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from host.machine import BOOT, Machine

if TYPE_CHECKING:
    from pathlib import Path

    from host.docker_daemon import DockerDaemon

# The container's own part of the control groups may be written by its init, which then has the controllers.
_INIT = """\
mount -o remount,bind,rw /sys/fs/cgroup
for each in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$each"; done
exec /lib/systemd/systemd"""


class LimitedMachine(Machine):
    """As `Machine`, in Docker.

    Args:
        docker: Runs it.
        image: Of a root file system with systemd.
        rootfs: What the image was made of.
    """

    def __init__(self, docker: DockerDaemon, image: str, rootfs: Path) -> None:
        super().__init__(rootfs, rootfs / "unused")
        self._docker = docker
        self._image = image

    def __enter__(self) -> Self:
        flags = ("--cgroupns=private", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--network=none")
        mounts = ("--tmpfs=/run", "--tmpfs=/run/lock", "--stop-signal=SIGRTMIN+3")
        self._docker.run("run", "--detach", f"--name={self.name}", *flags, *mounts, self._image, "sh", "-c", _INIT)
        self.pid = int(self._docker.run("inspect", "--format={{.State.Pid}}", self.name))
        deadline = time.monotonic() + BOOT
        while self.systemctl("is-system-running", check=False).stdout.strip() not in {"running", "degraded"}:
            assert time.monotonic() < deadline, self._docker.run("logs", self.name)
            time.sleep(0.05)
        return self

    def __exit__(self, *exc: object) -> None:
        self._docker.run("rm", "--force", "--volumes", self.name)
