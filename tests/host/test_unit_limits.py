"""Limits of an instance hold, and meet the task that goes too far, not the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host.codes import serving
from host.docker_daemon import DockerDaemon, missing_tools
from host.limited_machine import LimitedMachine
from host.packages import PackageHost
from host.rootfs import rootfs
from host.site import HostSite
from support.tools import missing as tool_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE, IMAGE = "bookworm", "runqy-test/booted"
LIMITS = "[Service]\nMemoryMax=300M\nMemorySwapMax=0\nTasksMax=40\n"
IN_DOCKER = "[Service]\nPrivateUsers=no\nLoadCredential=\nLoadCredentialEncrypted=\n"
"""There no further user namespace can be made, and access lists, which guard credentials, are not kept."""
GREEDY = serving("""\
import subprocess
def work(payload):
    if payload == "memory":
        return len(bytearray(b"x") * (1 << 30))
    if payload == "processes":
        children = []
        try:
            while True:
                children.append(subprocess.Popen(["sleep", "60"]))
        except OSError as error:
            return [error.errno, len(children)]
        finally:
            for child in children:
                child.kill()
                child.wait()
    return payload
""")
EAGAIN = 11


@pytest.fixture(scope="module")
def machine() -> Iterator[LimitedMachine]:
    if reasons := missing_tools():
        tool_missing("; ".join(reasons))
    root = rootfs(SUITE)
    with DockerDaemon() as docker:
        docker.load(root, IMAGE)
        with LimitedMachine(docker, IMAGE, root) as machine:
            PackageHost(machine, SUITE).install()
            yield machine


def test_memory_and_processes_run_out_for_the_task_alone(machine: LimitedMachine) -> None:
    site = HostSite(machine)
    instance = site.instance({"main.py": GREEDY}, drop_ins={"limits.conf": LIMITS, "docker.conf": IN_DOCKER})
    instance.start()
    daemon = instance.pid
    assert instance.answer("before") == "before"

    error, children = instance.answer("processes")
    assert error == EAGAIN
    assert children < 40

    (greedy,) = instance.enqueue("memory", max_retry=0)
    info = site.finished(greedy, instance.queue)
    assert info.state == "archived"
    assert "SIGKILL (maybe out of memory)" in info.error

    assert instance.answer("after") == "after"
    assert instance.pid == daemon
    assert instance.restarts == 0
    instance.stop()
    assert instance.show("Result") == "success"
