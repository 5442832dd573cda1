"""What the module finds on a host, with a host's files below a temporary directory and systemctl's real words."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from ansible_collections.runqy.worker.plugins.module_utils.installation import Installation, comparable
from ansible_collections.runqy.worker.plugins.module_utils.looking import Instances, owner_of, started_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHOWN = """\
Id=runqy-worker@a.service
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no
MainPID=42
ExecMainStartTimestamp=Sat 2026-11-28 14:02:49.500000 UTC
StatusText=a: running 0/1
"""
STARTED = 1795874569.5


class FakeCommands:
    """Answers commands by their first two words."""

    def __init__(self, **answers: str) -> None:
        self._answers = answers

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        said = self._answers.get(argv[0].rpartition("/")[2].replace("-", "_"))
        return (1, "", "") if said is None else (0, said, "")


def _write(path: Path, at: float = STARTED - 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (at, at))


def _look(
    root: Path, status: Sequence[dict[str, object]] = (), names: Sequence[str] = ()
) -> dict[str, dict[str, object]]:
    run = FakeCommands(systemctl=SHOWN, runqy_worker=json.dumps(list(status)))
    return Instances(run, Installation(run, "/opt/runqy-worker", root), root).all(names)


def test_a_host_with_nothing_on_it(tmp_path: Path) -> None:
    run = FakeCommands()
    installation = Installation(run, "/opt/runqy-worker", tmp_path)
    assert installation.what() == ("", "")
    assert installation.files("") == ""
    assert installation.environments() == []
    assert installation.systemd() == 0
    assert Instances(run, installation, tmp_path).all([]) == {}


def test_an_installed_package(tmp_path: Path) -> None:
    run = FakeCommands(dpkg_query="installed 0.1.0+deb12")
    assert Installation(run, "/opt/runqy-worker", tmp_path).what() == ("deb", "0.1.0+deb12")
    removed = FakeCommands(dpkg_query="config-files 0.1.0+deb12")
    assert Installation(removed, "/opt/runqy-worker", tmp_path).what() == ("", "")


def test_environments_of_wheels(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "runqy-worker"
    _write(prefix / "0.2.0" / "complete", 20)
    _write(prefix / "0.1.0-1f3a5c7e" / "complete", 10)
    (prefix / "0.3.0").mkdir()
    (prefix / "current").symlink_to("0.2.0")
    units = prefix / "0.2.0" / "lib" / "python3.11" / "site-packages" / "runqy_worker" / "systemd"
    units.mkdir(parents=True)
    installation = Installation(FakeCommands(), "/opt/runqy-worker", tmp_path)
    assert installation.what() == ("wheel", "0.2.0")
    assert installation.environments() == ["0.1.0-1f3a5c7e", "0.2.0"]
    assert units.samefile(installation.files("wheel"))


def test_an_environment_whose_python_is_gone_does_not_count(tmp_path: Path) -> None:
    """As after an upgrade of the host's release: the interpreter is another one, the libraries are not."""
    home = tmp_path / "opt/runqy-worker/0.1.0"
    _write(home / "complete")
    (home / "lib/python3.11").mkdir(parents=True)
    (home / "bin").mkdir()
    for version, counts in (("3.11", True), ("3.13", False)):
        _write(tmp_path / f"usr/bin/python{version}")
        (home / "bin/python3").unlink(missing_ok=True)
        (home / "bin/python3").symlink_to(tmp_path / f"usr/bin/python{version}")
        installation = Installation(FakeCommands(), "/opt/runqy-worker", tmp_path)
        assert installation.environments() == (["0.1.0"] if counts else [])


def test_a_process_older_than_the_package_runs_another_program(tmp_path: Path) -> None:
    _write(tmp_path / "etc/runqy-worker/instances/a.yml")
    _write(tmp_path / "var/lib/dpkg/info/runqy-worker.list")
    assert _look(tmp_path)["a"]["program"] == ""
    _write(tmp_path / "var/lib/dpkg/info/runqy-worker.list", STARTED + 10)
    assert _look(tmp_path)["a"]["program"] == "it was started before the package was installed that is there now"


def test_directories_that_systemd_brought_are_not_removed(tmp_path: Path) -> None:
    for name in ("etc/credstore", "etc/credstore.encrypted"):
        (tmp_path / name).mkdir(parents=True)
    _write(tmp_path / "var/lib/dpkg/info/systemd.list")
    installation = Installation(FakeCommands(), "/opt/runqy-worker", tmp_path)
    assert len(installation.folders()) == 2
    (tmp_path / "var/lib/dpkg/info/systemd.list").write_text("/etc/credstore\n")
    assert installation.folders() == [str(tmp_path / "etc/credstore.encrypted")]


@pytest.mark.parametrize(
    ("version", "form"),
    [
        ("0.2.0rc1", "0.2.0~rc1"),
        ("0.2.0-1f3a5c7e", "0.2.0"),
        ("0.2.0.dev3", "0.2.0~dev3"),
        ("0.1.0+deb12", "0.1.0+deb12"),
    ],
)
def test_versions_are_compared_as_dpkg_does(version: str, form: str) -> None:
    assert comparable(version) == form


def test_files_that_are_newer_than_the_process_are_found(tmp_path: Path) -> None:
    _write(tmp_path / "etc/runqy-worker/instances/a.yml")
    _write(tmp_path / "etc/runqy-worker/instances/a.env", STARTED + 1e9)
    (found,) = _look(tmp_path).values()
    assert found["running"]
    assert found["enabled"]
    assert str(tmp_path / "etc/runqy-worker/instances/a.env") in found["newer"]  # type: ignore[operator]


def test_what_the_worker_says_is_told_apart(tmp_path: Path) -> None:
    _write(tmp_path / "etc/runqy-worker/instances/a.yml")
    _write(tmp_path / "usr/bin/runqy-worker")
    settings = "changed settings that can't be taken over while it works: worker.concurrency"
    reasons = ["version 0.1.0 runs, and 0.2.0 is installed", settings]
    told = {"restart_needed": reasons, "reload_needed": ["/etc/x changed since it was read"], "quiet": True}
    found = _look(tmp_path, [{"name": "a", "status": told}])["a"]
    assert found["program"] == reasons[0]
    assert found["settings"] == [settings]
    assert found["reload"] == ["/etc/x changed since it was read"]
    assert found["quiet"]


def test_instances_with_dots_in_their_names_keep_their_secrets_apart(tmp_path: Path) -> None:
    for name in ("a", "a.low"):
        _write(tmp_path / f"etc/runqy-worker/instances/{name}.yml")
        _write(tmp_path / f"etc/credstore/runqy-worker.{name}.api-key")
    _write(tmp_path / "etc/credstore.encrypted/runqy-worker.a.git-token.encrypted")
    found = _look(tmp_path)
    assert [path.rpartition("/")[2] for path in found["a.low"]["credentials"]] == ["runqy-worker.a.low.api-key"]  # type: ignore[attr-defined]
    assert len(found["a"]["credentials"]) == 2  # type: ignore[arg-type]


def test_traces_are_found_without_settings(tmp_path: Path) -> None:
    _write(tmp_path / "etc/credstore/runqy-worker.b.api-key")
    _write(tmp_path / "etc/systemd/system/runqy-worker@c.service.d/cuda.conf")
    _write(tmp_path / "etc/systemd/system/runqy-worker.target.wants/runqy-worker@d.service")
    assert set(_look(tmp_path)) == {"b", "c", "d"}


def test_the_time_that_systemctl_prints() -> None:
    assert started_at("Sat 2026-11-28 14:02:49.500000 UTC") == STARTED
    assert started_at("") == 0
    assert owner_of("runqy-worker.a.b.api-key.encrypted") == "a.b"
