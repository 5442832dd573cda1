from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.deployment.answer import DeploymentSpec, QueueAnswer, RedisAnswer, Registration
from runqy_worker.deployment.launching import make_launch, split_command
from runqy_worker.deployment.release_record import ReleaseRecord
from runqy_worker.deployment.releases import ReleaseDir
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level, Notice, Silent
from runqy_worker.domain.launch import Launch, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Heard(Silent):
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)


class World:
    """A release on the disk, without anything in it but what a launch looks at."""

    def __init__(self, root: Path) -> None:
        self.path = root / "release"
        self.bin = root / "env" / "bin"
        self.bin.mkdir(parents=True)
        for name in ("python", "python3", "celery"):
            (self.bin / name).touch(mode=0o755)
        self.code = self.path / "code" / "src"
        self.code.mkdir(parents=True)
        (self.path / "environment").symlink_to(root / "env")
        self.heard = Heard()

    def launch(
        self,
        startup_cmd: str = "python main.py",
        *,
        environ: Mapping[str, str] | None = None,
        clean: bool = False,
        mode: str = "long_running",
        env_vars: Mapping[str, str] | None = None,
        vaults: Mapping[str, str] | None = None,
    ) -> Launch:
        record = ReleaseRecord("abc-1", "abc", "u", "main", "src", "e", startup_cmd, mode, 0)
        spec = DeploymentSpec("u", "other command", env_vars=env_vars or {}, startup_timeout=7, redis_storage=False)
        registration = Registration(RedisAnswer("r"), QueueAnswer("q"), (), spec, vaults or {}, "ghp_token")
        return make_launch(
            ReleaseDir(self.path, record),
            registration,
            environ={"PATH": "/usr/bin:/bin"} if environ is None else environ,
            clean=clean,
            listener=self.heard,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    ("startup_cmd", "program"),
    [
        ("python main.py", "python"),
        ("python3 -u main.py", "python3"),
        ("python3.9 main.py", "python"),
        ("celery worker", "celery"),
    ],
)
def test_programs_of_the_environment_come_first(world: World, startup_cmd: str, program: str) -> None:
    launch = world.launch(startup_cmd)
    assert launch.argv[0] == str(world.bin / program)
    assert launch.argv[1:] == tuple(startup_cmd.split()[1:])


def test_other_programs_are_found_on_path_or_in_the_code(world: World) -> None:
    assert world.launch("sh -c 'exec python main.py'").argv == ("sh", "-c", "exec python main.py")
    (world.code / "run.sh").touch(mode=0o755)
    assert world.launch("./run.sh --fast").argv == (str(world.code / "run.sh"), "--fast")


@pytest.mark.parametrize(
    ("startup_cmd", "said"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("python 'main.py", "can't be split into words"),
        ("DEBUG=1 python main.py", "set variables in deployment.env_vars"),
        ("python main.py && echo", "no shell runs it"),
        ("no-such-program-at-all", "neither in the environment nor on PATH"),
        ("./missing.sh", "does not exist in the task code's folder"),
    ],
)
def test_commands_that_cannot_work_are_refused(world: World, startup_cmd: str, said: str) -> None:
    with pytest.raises(DeploymentError, match=said) as caught:
        world.launch(startup_cmd)
    assert not caught.value.retryable


def test_quotes_are_honoured_without_a_shell() -> None:
    assert split_command("python main.py --name 'a b' \"$HOME\"") == ["python", "main.py", "--name", "a b", "$HOME"]


def test_the_command_and_mode_are_the_releases_own(world: World) -> None:
    launch = world.launch(mode="one_shot")
    assert launch.mode is Mode.ONE_SHOT
    assert launch.cwd == world.code
    assert (launch.startup_timeout, launch.store_result, launch.release) == (7, False, "abc-1")


def test_the_services_environment_is_passed_on_without_what_is_the_workers(world: World) -> None:
    own = {
        "RUNQY_API_KEY": "k",
        "NOTIFY_SOCKET": "s",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LISTEN_FDS": "1",
        "CREDENTIALS_DIRECTORY": "/run/c",
        "MAINPID": "1",
        "INVOCATION_ID": "i",
        "JOURNAL_STREAM": "8:1",
        "PYTHONHOME": "/x",
    }
    launch = world.launch(environ={"PATH": "/usr/bin", "HOME": "/h", "MY_SETTING": "1", **own})
    assert launch.env == {
        "PATH": f"{world.bin}:/usr/bin",
        "HOME": "/h",
        "MY_SETTING": "1",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": str(world.bin.parent),
    }


def test_a_clean_environment_has_only_what_is_allowed(world: World) -> None:
    environ = {"PATH": "/usr/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0", "MY_SETTING": "1", "AWS_SECRET": "x"}
    launch = world.launch(environ=environ, clean=True, env_vars={"MODEL": "m"})
    assert set(launch.env) == {
        "PATH",
        "LC_ALL",
        "CUDA_VISIBLE_DEVICES",
        "MODEL",
        "PYTHONUNBUFFERED",
        "VIRTUAL_ENV",
    }


def test_vault_entries_win_but_may_not_steer_the_process(world: World) -> None:
    launch = world.launch(
        env_vars={"API_KEY": "plain", "PATH": "/opt/bin", "VIRTUAL_ENV": "/x"},
        vaults={"API_KEY": "secret", "PATH": "/evil", "HOME": "/e", "PYTHONPATH": "/e", "VIRTUAL_ENV": "/e", "1X": "e"},
    )
    assert launch.env["API_KEY"] == "secret"
    assert launch.env["PATH"] == f"{world.bin}:/opt/bin"
    assert launch.env["VIRTUAL_ENV"] == str(world.bin.parent)
    assert not {"HOME", "PYTHONPATH", "1X"} & set(launch.env)
    warnings = [notice for notice in world.heard.notices if notice.level is Level.WARNING]
    assert len(warnings) == 6
    assert "secret" not in "".join(notice.message for notice in warnings)


def test_secrets_are_marked_as_such_and_do_not_show(world: World) -> None:
    launch = world.launch(vaults={"API_KEY": "sk-secret"})
    assert "sk-secret" in launch.secrets
    assert "ghp_token" in launch.secrets
    assert "ghp_token" not in "".join(launch.env.values())
