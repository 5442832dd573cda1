"""Deploys as operators make them, under the unit as it is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from host.codes import EXECUTABLE_MEMORY, serving
from host.rootfs import ROOT
from host.servers import CERTIFICATE, HTTPS, REQUIREMENTS, TOKEN, provide_packages, start_https, start_ssh

if TYPE_CHECKING:
    from host.instance import Instance
    from host.machine import Machine
    from host.site import HostSite

CUDA = (ROOT / "systemd" / "drop-ins" / "cuda.conf").read_text()
CODE = {"main.py": serving(EXECUTABLE_MEMORY), "requirements.txt": REQUIREMENTS}
ANSWER = [42, 22, 22, "1.0"]
"""To 21: what compiled C, a callback from C, and machine code made at run time say; and the wheel's version."""


@dataclass(frozen=True)
class Servers:
    """How to get in.

    Attributes:
        key: For ssh.
        known_hosts: Of the ssh server.
    """

    key: str
    known_hosts: str


@pytest.fixture(scope="session")
def servers(shared_site: HostSite) -> Servers:
    machine = shared_site.machine
    provide_packages(machine)
    start_https(machine)
    return Servers(*start_ssh(machine))


@pytest.mark.parametrize(("unit", "installer"), [("cpu", "venv"), ("cuda", "uv")])
def test_a_repository_of_another_user(site: HostSite, servers: Servers, unit: str, installer: str) -> None:
    instance = _instance(site, unit, installer)
    _deploys_and_works(instance)
    if installer == "uv":
        assert _links(site.machine, instance) > 1


@pytest.mark.parametrize(("unit", "installer"), [("cpu", "uv"), ("cuda", "venv")])
def test_a_repository_over_ssh(site: HostSite, servers: Servers, unit: str, installer: str) -> None:
    instance = _instance(site, unit, installer, git_url="ssh://git@localhost/srv/git/{name}")
    instance.credential("ssh-key", servers.key)
    instance.credential("known-hosts", servers.known_hosts)
    _deploys_and_works(instance)


@pytest.mark.parametrize("unit", ["cpu", "cuda"])
def test_a_repository_over_https_with_a_token(site: HostSite, servers: Servers, unit: str) -> None:
    instance = _instance(site, unit, "uv", git_url=f"{HTTPS}/{{name}}")
    instance.credential("git-token", TOKEN)
    _deploys_and_works(instance)


def test_a_token_from_the_encrypted_store(site: HostSite, servers: Servers) -> None:
    instance = _instance(site, "cpu", "uv", git_url=f"{HTTPS}/{{name}}")
    site.machine.run(
        *("systemd-creds", "encrypt", "--with-key=host", "--name=git-token.encrypted", "-"),
        f"/etc/credstore.encrypted/runqy-worker.{instance.name}.git-token.encrypted",
        input=TOKEN,
    )
    _deploys_and_works(instance)


def test_known_hosts_of_the_system_serve_too(site: HostSite, servers: Servers) -> None:
    instance = _instance(site, "cpu", "uv", git_url="ssh://git@localhost/srv/git/{name}")
    instance.credential("ssh-key", servers.key)
    site.machine.write("/etc/ssh/ssh_known_hosts", servers.known_hosts)
    try:
        _deploys_and_works(instance)
    finally:
        site.machine.run("rm", "/etc/ssh/ssh_known_hosts")


def _instance(site: HostSite, unit: str, installer: str, git_url: str = "") -> Instance:
    drop_ins = {"cuda.conf": CUDA} if unit == "cuda" else {}
    return site.instance(
        CODE,
        git_url=git_url,
        drop_ins=drop_ins,
        deployment={"installer": installer},
        git={"ca_file": CERTIFICATE},
    )


def _deploys_and_works(instance: Instance) -> None:
    instance.start()
    assert instance.answer(21) == ANSWER
    instance.stop()


def _links(machine: Machine, instance: Instance) -> int:
    """How many names a file of the wheel has: with uv, one in its cache too."""
    find = f"find {instance.state}/deployment/environments -path '*/plain/__init__.py'"
    return int(machine.sh(f"stat --format=%h $({find})"))
