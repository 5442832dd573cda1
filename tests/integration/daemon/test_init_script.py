"""The init script of `packaging/`, run for real: it needs no systemd."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from integration.daemon.conftest import is_alive, until
from support.tools import needed

from runqy_worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.daemon.conftest import Daemons

SCRIPT = Path(__file__).parents[3] / "packaging/init.d/runqy-worker"
ACTIONS = ("start", "stop", "restart", "force-reload", "reload", "status")


class Host:
    """Its directories, with instances that `instance add` made."""

    def __init__(self, root: Path, daemons: Daemons) -> None:
        self.root = root
        self.daemons = daemons
        program = root / "usr/bin/runqy-worker"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m runqy_worker "$@"\n')
        program.chmod(0o755)
        self.environ = {
            "PATH": os.environ["PATH"],
            "DEFAULTS": "/nonexistent",
            "DAEMON": str(program),
            "CONFIG_DIR": str(root / "etc/runqy-worker"),
            "SECRETS_DIR": str(root / "etc/credstore"),
            "STATE_DIR": str(root / "var/lib/runqy-worker"),
            "LOG_DIR": str(root / "var/log/runqy-worker"),
            "RUN_DIR": str(root / "run/runqy-worker"),
            "RUN_AS": pwd.getpwuid(os.getuid()).pw_name,
        }

    def add(self, name: str, *more: str) -> None:
        """Add an instance that works on the queue `jobs`."""
        settings = self.daemons.site.settings
        words = ["--queue", "jobs", "--root", str(self.root), *more]
        for key in ("redis.addr", "local.queues_file", "deployment.installer"):
            section, _, setting = key.partition(".")
            words += ["--set", f"{key}={settings[section][setting]}"]
        assert main(["instance", "add", name, *words]) == 0

    def do(self, *words: str) -> tuple[int, str]:
        """Run the script; its exit code and what it said."""
        log = self.root / "said"
        with log.open("w") as said:  # a pipe would be waited for until the daemon ends
            done = subprocess.run(
                [str(SCRIPT), *words], stdout=said, stderr=said, check=False, env=self.environ, timeout=110
            )
        return done.returncode, log.read_text()

    def pid(self, name: str) -> int:
        return int((self.root / f"run/runqy-worker/{name}.pid").read_text())

    def log(self, name: str) -> str:
        return (self.root / f"var/log/runqy-worker/{name}/worker.log").read_text()


@pytest.fixture
def host(tmp_path: Path, daemons: Daemons) -> Iterator[Host]:
    host = Host(tmp_path / "host", daemons)
    yield host
    for file in (tmp_path / "host/run/runqy-worker").glob("*.pid"):
        if text := file.read_text().strip():
            daemons.pid_file = file
            daemons.end()
            assert text


def test_the_script_is_sound_and_says_what_it_needs() -> None:
    subprocess.run(["sh", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--shell=sh", str(SCRIPT)], check=True)
    header = SCRIPT.read_text().partition("### END INIT INFO")[0]
    for key in ("Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"):
        assert f"# {key}:" in header


@pytest.mark.parametrize("words", [[], ["begin"], ["usage"], ["prepare"]])
def test_an_action_that_it_does_not_have_is_refused(host: Host, words: list[str]) -> None:
    code, said = host.do(*words)
    assert code == 2
    assert all(action in said for action in ACTIONS)


def test_an_instance_lives_by_it(host: Host) -> None:
    needed("flock", "apt-get install util-linux")
    key = host.root / "key"
    key.write_text("index-secret")
    host.add("inference", "--credential", f"index-password={key}")
    variables = host.root / "etc/runqy-worker/instances/inference.env"
    variables.write_text(variables.read_text() + "RUNQY_LOG_FORMAT=json\nGREETING='hello  you'\n")
    assert host.do("status")[0] == 3
    code, said = host.do("start")
    assert code == 0, said
    assert "inference is ready" in said
    pid = host.pid("inference")
    environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"GREETING=hello  you" in environ
    assert b"index-secret" not in b"".join(environ)
    credential = host.root / "run/runqy-worker/inference/credentials/index-password"
    assert (credential.read_text(), credential.stat().st_mode & 0o777) == ("index-secret", 0o400)
    assert (host.root / "var/lib/runqy-worker/inference/deployment").is_dir()

    assert host.do("start", "inference") == (0, "runqy-worker inference runs already\n")
    assert host.pid("inference") == pid
    assert host.do("status") == (0, f"runqy-worker inference runs, process {pid}\n")
    (task,) = host.daemons.site.enqueue("jobs.default", 1)
    assert host.daemons.site.finished(task).state == "completed"

    assert host.do("reload")[0] == 0
    until(lambda: '"action":"reload_finished"' in host.log("inference"), "the deploy")
    assert host.do("stop") == (0, "runqy-worker inference has stopped\n")
    until(lambda: not is_alive(pid), "the end")
    assert not (host.root / "run/runqy-worker/inference.pid").exists()
    assert host.do("status")[0] == 3
    assert host.do("stop")[0] == 0
    assert host.do("reload")[0] == 7


def test_one_that_died_is_told_and_started_anew(host: Host) -> None:
    needed("flock", "apt-get install util-linux")
    host.add("inference")
    assert host.do("start")[0] == 0
    pid = host.pid("inference")
    os.kill(pid, 9)
    until(lambda: host.do("status") == (1, "runqy-worker inference died\n"), "the end")
    assert host.do("restart")[0] == 0
    assert host.pid("inference") != pid


def test_a_broken_instance_fails_and_the_others_start(host: Host) -> None:
    needed("flock", "apt-get install util-linux")
    host.add("a")
    host.add("b")
    settings = host.root / "etc/runqy-worker/instances/a.yml"
    document: dict[str, Any] = yaml.safe_load(settings.read_text())
    document["lease"] = {"duration": "soon"}
    settings.write_text(yaml.safe_dump(document))
    code, said = host.do("start")
    assert code == 1
    assert "lease.duration" in said
    assert "runqy-worker b is ready" in said
    assert host.do("status")[0] == 3
