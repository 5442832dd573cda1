"""What the task code of one instance can reach of the host and of the other instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host.codes import TRIES_TO_READ, TRIES_TO_WRITE

if TYPE_CHECKING:
    from host.machine import Machine
    from host.site import HostSite

SYSTEM = (
    *("/", "/etc", "/etc/runqy-worker", "/usr", "/usr/lib/runqy-worker", "/var", "/var/lib", "/var/lib/runqy-worker"),
    *("/run", "/run/runqy-worker", "/srv", "/srv/git", "/home", "/root", "/opt", "/boot", "/dev", "/sys", "/proc/sys"),
    *("/var/cache/runqy-worker", "/var/log/runqy-worker", "/var/log", "/etc/credstore", "/sys/fs/cgroup"),
)


def test_task_code_writes_only_to_its_own_instance_s_places(site: HostSite) -> None:
    other = site.instance()
    other.start()
    instance = site.instance({"main.py": TRIES_TO_WRITE})
    instance.start()
    roots = ("/var/lib/runqy-worker", "/var/cache/runqy-worker", "/var/log/runqy-worker", "/run/runqy-worker")
    own = [f"{root}/{instance.name}" for root in roots]
    foreign = [f"{root}/{other.name}" for root in roots]
    temporary = ["/tmp", "/var/tmp"]
    assert instance.answer([*SYSTEM, *own, *foreign, *temporary]) == [*own, *temporary]
    assert not site.machine.exists("/tmp/written-by-a-task")


def test_task_code_does_not_see_the_files_and_secrets_of_others(site: HostSite) -> None:
    other = site.instance()
    other.credential("health-token", "not yours")
    other.start()
    instance = site.instance({"main.py": TRIES_TO_READ})
    instance.credential("health-token", "own")
    instance.start()
    store, credentials = "/etc/credstore", "/run/credentials"
    seen = instance.answer(
        ["/var/lib/runqy-worker", "/run/runqy-worker", store, credentials, f"{other.state}/deployment"]
    )
    assert seen["/var/lib/runqy-worker"] == [instance.name]
    assert seen["/run/runqy-worker"] == [instance.name]
    assert seen[store] == "PermissionError"
    assert seen[credentials] == [instance.unit]
    assert seen[f"{other.state}/deployment"] == "FileNotFoundError"


def test_an_instance_can_have_a_user_of_its_own(site: HostSite, machine: Machine) -> None:
    machine.sh("getent passwd tenant >/dev/null || useradd --system --no-create-home tenant")
    instance = site.instance(drop_ins={"user.conf": "[Service]\nUser=tenant\nGroup=tenant\n"})
    instance.credential("health-token", "own")
    instance.start()
    assert instance.answer("mine") == "mine"
    assert machine.sh(f"stat --format='%U %a' {instance.state}") == "tenant 700"
    assert machine.sh(f"ps -o user= -p {instance.pid}") == "tenant"
