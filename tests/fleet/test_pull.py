"""Pull mode as in ansible/examples/pull, by the newest Ansible on Debian 13, from a collection that was built."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fleet import artifacts
from fleet.downloads import newest_ansible
from fleet.playing import OWN_PROGRAMS
from fleet.roots import prepared
from host.machine import Machine
from host.rootfs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUITE = "trixie"
EXAMPLE = ROOT / "ansible/examples/pull"
FLEET = "/srv/git/fleet"
LONG = 600.0
VARIABLES = """\
ansible_python_interpreter: /usr/bin/python3
runqy_worker_find_links: /srv/packages
runqy_worker_server_url: http://127.0.0.1:3000
runqy_worker_api_key: worker-key
runqy_worker_instances:
  - {name: inference}
"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is published."""
    directory = tmp_path_factory.mktemp("collection")
    build = (str(OWN_PROGRAMS / "ansible-galaxy"), "collection", "build", "--output-path", str(directory))
    subprocess.run([*build, str(ROOT / "ansible")], check=True, capture_output=True)
    (built,) = directory.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def host(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A bare host but for Ansible, the collection, and a repository of the fleet in reach."""
    with Machine(prepared(SUITE), tmp_path_factory.mktemp("pull") / "console") as machine:
        machine.copy_in(artifacts.source(), "/root")
        machine.copy_in(artifacts.wheel(), "/srv/packages")
        machine.copy_in(newest_ansible(SUITE), "/root/ansible")
        machine.copy_in(collection, "/root")
        machine.copy_in(EXAMPLE, "/etc/systemd/system")
        machine.write("/etc/default/runqy-pull", f"FLEET_URL=file://{FLEET}\nFLEET_OPTIONS=--diff\n")
        machine.sh("tar -xC /srv/site -f /root/source.tar; hostname worker-1")
        machine.systemctl("enable", "--now", "site-redis", "site-control")
        machine.sh(
            "python3 -m venv /opt/ansible\n"
            "/opt/ansible/bin/pip install --quiet --no-index --no-deps /root/ansible/*.whl\n"
            "/opt/ansible/bin/ansible-galaxy collection install -p /usr/share/ansible/collections --offline /root/*.gz",
            timeout=LONG,
        )
        machine.write(f"{FLEET}/site.yml", "- import_playbook: runqy.worker.site\n")
        machine.write(f"{FLEET}/inventory/hosts.yml", "workers: {hosts: {worker-1: , worker-2: }}\n")
        machine.write(f"{FLEET}/inventory/group_vars/workers.yml", VARIABLES)
        machine.sh(f"git -C {FLEET} init --quiet --initial-branch=main")
        commit(machine)
        yield machine


def commit(machine: Machine) -> None:
    machine.sh(
        f"git -C {FLEET} add --all; "
        f"git -C {FLEET} -c user.name=Test -c user.email=test@localhost commit --quiet -m change"
    )


def pull(machine: Machine) -> str:
    """Let it pull; returns Ansible's count of what it did."""
    done = machine.systemctl("start", "runqy-pull.service", check=False, timeout=LONG)
    said = machine.run("journalctl", "--unit=runqy-pull", "--output=cat", "--lines=40").stdout
    assert done.returncode == 0, machine.journal_text("--unit=runqy-pull", lines=200)
    return [line for line in said.splitlines() if "unreachable=" in line][-1]


def test_a_host_that_pulls_becomes_a_worker_and_changes_no_more(host: Machine) -> None:
    assert "failed=0" in pull(host)
    told = host.run("/opt/ansible/bin/ansible", "--version").stdout
    assert told.startswith("ansible [core 2.21.")
    said = host.run("python3", "/srv/site/client.py", "do", "inference.default", '{"number": 7}').stdout
    assert '"completed"' in said
    assert "changed=0" in pull(host)


def test_what_is_committed_is_applied_by_the_next_pull(host: Machine) -> None:
    host.write(f"{FLEET}/inventory/group_vars/workers.yml", VARIABLES + "  - {name: reports}\n")
    commit(host)
    assert "changed=0" not in pull(host)
    assert host.show("runqy-worker@reports.service", "ActiveState") == {"ActiveState": "active"}


def test_the_timer_is_one_that_systemd_understands(host: Machine) -> None:
    host.systemctl("enable", "--now", "runqy-pull.timer")
    assert host.show("runqy-pull.timer", "ActiveState") == {"ActiveState": "active"}
    host.sh("systemd-analyze verify /etc/systemd/system/runqy-pull.timer")
