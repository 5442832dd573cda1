"""The Debian package: what it brings, that it works, and what is left when it goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from deb_source import RELEASES, ROOT
from host.codes import WAITS_FOR_A_FILE
from host.machine import Machine
from host.packages import PackageHost
from host.rootfs import SYSTEMD, rootfs
from host.site import HostSite

from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYTHONS = {"bookworm": ("3.11", "3.12"), "trixie": ("3.13", "3.14")}
CONFFILES = {"/etc/needrestart/conf.d/runqy-worker.conf", "/etc/runqy-worker/config.yml"}
ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock")
"""Where the user and the groups stay, as system users do, each with a backup beside it."""


@pytest.fixture(scope="module")
def packaged(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageHost]:
    """A machine with the package, for tests that only look."""
    with Machine(rootfs(suite), tmp_path_factory.mktemp("packaged") / "console.log") as machine:
        installed = PackageHost(machine, suite)
        installed.install()
        yield installed


@pytest.fixture
def host(suite: str, tmp_path: Path) -> Iterator[PackageHost]:
    """A machine of its own, on which nothing of the worker is."""
    with Machine(rootfs(suite), tmp_path / "console.log") as machine:
        yield PackageHost(machine, suite)


def test_the_package_brings_a_program_that_says_what_it_is(packaged: PackageHost, suite: str) -> None:
    told = packaged.machine.run("runqy-worker", "version").stdout
    oldest, next_one = PYTHONS[suite]
    assert re.fullmatch(
        rf"runqy-worker {__version__} \(commit [0-9a-f]{{40}}(-dirty)?, built 2\S+, CPython {oldest}\.\d+\)\n", told
    )
    assert packaged.field("Version") == f"{__version__}+deb{RELEASES[suite]}"
    assert f"python3 (>= {oldest}~), python3 (<< {next_one}~)" in packaged.field("Depends")
    assert packaged.machine.run("python3", "-c", "import runqy_worker", check=False).returncode != 0
    isolated = packaged.machine.run(
        "runqy-worker", "version", PYTHONPATH="/nonexistent", PYTHONSTARTUP="/x", PYTHONHOME="/x"
    )
    assert isolated.stdout == told


def test_nothing_of_pip_or_of_the_build_is_in_the_package(packaged: PackageHost) -> None:
    listed = packaged.machine.run("dpkg", "--listfiles", "runqy-worker").stdout.splitlines()
    unwanted = re.compile(r"/pip(/|-)|/setuptools|direct_url\.json|/RECORD$|/INSTALLER$|\.pyc$|__pycache__")
    assert [path for path in listed if unwanted.search(path)] == []
    built_in = packaged.machine.sh("grep -rlF /build/ /usr/lib/runqy-worker --include=* --exclude=*.so || true")
    assert built_in == ""


def test_bytecode_is_made_by_the_installation_and_is_up_to_date(packaged: PackageHost, suite: str) -> None:
    tag = "cpython-" + PYTHONS[suite][0].replace(".", "")
    folder = f"/usr/lib/runqy-worker/lib/python{PYTHONS[suite][0]}/site-packages/runqy_worker"
    assert packaged.machine.exists(f"{folder}/cli/__pycache__/main.{tag}.pyc")
    before = packaged.machine.sh(f"find {folder} -name '*.pyc' -printf '%p %T@\\n' | sort")
    packaged.machine.run("runqy-worker", "version")
    assert packaged.machine.sh(f"find {folder} -name '*.pyc' -printf '%p %T@\\n' | sort") == before


def test_units_manual_and_completions_are_where_they_are_looked_for(packaged: PackageHost, suite: str) -> None:
    for path in (
        "/usr/lib/systemd/system/runqy-worker@.service",
        "/usr/lib/systemd/system/runqy-worker.target",
        "/usr/lib/systemd/system/runqy.slice",
        "/usr/share/man/man1/runqy-worker.1.gz",
        "/usr/share/bash-completion/completions/runqy-worker",
        "/usr/share/zsh/vendor-completions/_runqy-worker",
        "/usr/share/fish/vendor_completions.d/runqy-worker.fish",
        "/usr/share/doc/runqy-worker/operations.md",
        "/usr/share/doc/runqy-worker/examples/drop-ins/cuda.conf",
    ):
        assert packaged.machine.exists(path), path
    steps = packaged.machine.exists("/usr/lib/systemd/system/runqy-worker@.service.d/restart-steps.conf")
    assert steps == (SYSTEMD[suite] >= 254)
    assert packaged.machine.systemctl("is-enabled", "runqy-worker.target").stdout.strip() == "enabled"
    offered = packaged.machine.sh(
        "bash -c '. /usr/share/bash-completion/bash_completion; _comp_load runqy-worker 2>/dev/null ||"
        " __load_completion runqy-worker; complete -p runqy-worker'"
    )
    assert "runqy" in offered


def test_configuration_of_instances_is_nothing_that_dpkg_asks_about(packaged: PackageHost) -> None:
    listed = packaged.machine.run("dpkg-query", "--show", "--showformat=${Conffiles}", "runqy-worker").stdout
    assert {line.split()[0] for line in listed.splitlines() if line.strip()} == CONFFILES
    for path in ("/etc/runqy-worker/instances", "/etc/credstore"):
        assert packaged.machine.exists(path)
        assert "runqy-worker:" not in packaged.machine.run("dpkg", "--search", path, check=False).stdout, path


def test_needrestart_leaves_workers_alone(packaged: PackageHost) -> None:
    script = (
        "our %nrconf; do '/etc/needrestart/conf.d/runqy-worker.conf'; die $@ if $@;"
        "for my $re (keys %{$nrconf{override_rc}}) { print $nrconf{override_rc}{$re} if $ARGV[0] =~ /$re/ }"
    )
    assert packaged.machine.run("perl", "-e", script, "runqy-worker@inference.service").stdout == "0"
    assert packaged.machine.run("perl", "-e", script, "redis-server.service").stdout == ""


def test_a_removed_package_has_stopped_its_instances_and_a_new_installation_takes_them_up(host: PackageHost) -> None:
    host.install()
    site = HostSite(host.machine)
    machine = host.machine
    instance = site.instance({"main.py": WAITS_FOR_A_FILE})
    machine.systemctl("enable", instance.unit)
    instance.start()
    (task,) = instance.enqueue("running")
    machine.until(lambda: machine.exists(f"{instance.state}/began"), "the task")
    machine.sh(f"(sleep 2; touch {instance.state}/go) >/dev/null 2>&1 &")
    daemon, children = instance.pid, instance.children()
    host.remove()
    assert instance.result(task) == "done"
    assert [pid for pid in (daemon, *children) if machine.exists(f"/proc/{pid}")] == []
    assert not machine.exists("/usr/lib/runqy-worker")
    assert machine.exists(f"/etc/runqy-worker/instances/{instance.name}.yml")

    host.install()
    machine.systemctl("start", "runqy-worker.target")
    machine.until(lambda: instance.show("ActiveState") == "active", "the instance")
    (after,) = instance.enqueue("again")
    assert instance.result(after) == "done"


def test_purging_leaves_nothing_but_the_user(host: PackageHost) -> None:
    site = HostSite(host.machine)
    machine = host.machine
    before = host.files()
    host.install()
    instance = site.instance(drop_ins={"more.conf": "[Service]\nCPUWeight=50\n"})
    instance.credential("health-token", "s3cret")
    instance.variables(COLOUR="blue")
    machine.systemctl("enable", instance.unit)
    instance.start()
    assert instance.answer("once") == "once"
    assert len(host.files() - before) > 500
    host.purge()
    accounts = {f"/etc/{name}{suffix}" for name in ACCOUNTS for suffix in ("", "-")}
    left = {path for path in host.files() - before if not _is_of_the_system(path)} - accounts
    assert left == {path for path in left if path.startswith("/srv/git")}
    assert before - host.files() == set()
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "runqy*").stdout == ""
    assert machine.run("systemctl", "list-unit-files", "--no-legend", "runqy*", check=False).stdout == ""


def test_the_package_s_own_smoke_test_passes(host: PackageHost) -> None:
    host.install()
    host.machine.copy_in(ROOT / "debian/tests/smoke", "/root")
    host.machine.sh("systemctl unmask redis-server; mkdir --mode=0755 /srv/smoke; chmod +x /root/smoke")
    host.machine.run("/root/smoke", AUTOPKGTEST_TMP="/srv/smoke", timeout=300)


def _is_of_the_system(path: str) -> bool:
    """What dpkg and systemd note for themselves."""
    return path.startswith(("/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/systemd/", "/var/log/"))
