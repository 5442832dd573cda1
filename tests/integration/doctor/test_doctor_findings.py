"""What the doctor finds, against real servers, a real Redis and real repositories."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.redis_server import RedisServer, free_port

from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.cli.main import main
from runqy_worker.development.control_server import Fault
from runqy_worker.doctor.checks import redis as redis_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.doctor.conftest import Clinic


def test_a_host_where_all_is_well_has_no_problems(clinic: Clinic) -> None:
    found = clinic.diagnose()
    assert found.problems == []
    assert found.code == 0
    assert found.of("server", "ok")[-1].startswith("the queue jobs is known; it has jobs.default")
    assert "has main at" in found.of("repository", "ok")[0]
    assert "answers, version" in found.of("redis", "ok")[0]
    assert clinic.control.api_key not in found.text


def test_nothing_is_left_behind_and_nothing_was_changed(clinic: Clinic) -> None:
    clinic.diagnose()
    before = sorted(path for path in clinic.directory.rglob("*") if "redis" not in path.parts)
    clinic.diagnose()
    assert sorted(path for path in clinic.directory.rglob("*") if "redis" not in path.parts) == before
    assert list(Path("/dev/shm").glob("runqy-doctor-*")) == []
    assert not (clinic.directory / "deployment").exists()


def test_every_problem_of_the_configuration_is_told_and_the_rest_left_out(clinic: Clinic) -> None:
    clinic.config["lease"] = {"duration": "soon"}
    clinic.config["worker"] = {"queu": "jobs"}
    found = clinic.diagnose()
    assert found.code == 1
    assert {check for check, _ in found.problems} == {"configuration"}
    assert len(found.problems) == 2
    assert all("runqy-worker validate" in text for text in found.of("configuration"))
    assert clinic.control.received == []


def test_a_refused_key_is_named_but_not_shown(clinic: Clinic) -> None:
    clinic.config["server"]["api_key"] = "outdated-key"
    found = clinic.diagnose()
    assert [check for check, _ in found.problems] == ["server"]
    assert "does not know the key (401)" in found.of("server")[0]
    assert "instance add --force" in found.of("server")[0]
    assert "outdated-key" not in found.text
    assert "did not say" in found.of("redis", "note")[0]


def test_a_server_that_is_away_is_told_by_address(clinic: Clinic) -> None:
    clinic.config["server"]["url"] = f"http://127.0.0.1:{free_port()}"
    assert "can't be reached: [Errno 111] Connection refused" in clinic.diagnose().of("server")[0]


def test_a_server_whose_name_is_unknown_is_told_as_such(clinic: Clinic) -> None:
    clinic.config["server"]["url"] = "http://no-such-host.invalid"
    assert "the name no-such-host.invalid has no address" in clinic.diagnose().of("server")[0]


def test_a_server_without_tls_where_tls_is_expected(clinic: Clinic) -> None:
    clinic.config["server"]["url"] = clinic.control.url.replace("http:", "https:")
    assert "fails: [SSL" in clinic.diagnose().of("server")[0]


def test_a_check_that_gets_no_answer_is_told_and_the_others_go_on(clinic: Clinic) -> None:
    clinic.control.faults.append(Fault(delay=20, times=None))
    found = clinic.diagnose("--timeout", "1s")
    assert found.of("server", "warning")[0].startswith("no answer within 1 s")
    assert found.of("configuration", "ok")


def test_a_queue_that_the_server_does_not_know(clinic: Clinic) -> None:
    clinic.config["worker"]["queue"] = "jbos"
    assert "the queue 'jbos' is not known" in clinic.diagnose().of("server")[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"branch": "nope"}, "has no branch or tag 'nope'"),
        ({"git_url": "/nowhere/at/all"}, "no repository"),
        ({"git_url": "ext::sh -c true"}, "uses a transport helper"),
    ],
)
def test_a_repository_that_cannot_be_used_is_explained(
    clinic: Clinic, make_queues: Callable[..., Path], change: dict[str, str], expected: str
) -> None:
    make_queues(**change)
    found = clinic.diagnose()
    assert expected in found.of("repository")[0]
    assert [check for check, _ in found.problems] == ["repository"]


def test_an_interpreter_that_is_not_there(clinic: Clinic) -> None:
    clinic.config["deployment"]["python"] = "/no/such/python"
    assert "there is no such program" in clinic.diagnose().of("interpreter")[0]


def test_an_index_that_is_away_is_a_warning(clinic: Clinic) -> None:
    clinic.config["deployment"]["index_url"] = f"http://127.0.0.1:{free_port()}/simple"
    found = clinic.diagnose()
    assert "can't be reached" in found.of("package index", "warning")[0]
    assert found.code == 0


def test_a_directory_that_is_a_file(clinic: Clinic) -> None:
    (clinic.directory / "deployment").write_text("in the way")
    assert "is no directory" in clinic.diagnose().of("permissions")[0]


@pytest.fixture
def own_redis(tmp_path: Path, clinic: Clinic) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis with these options, and lets the server name it."""
    servers: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        server = RedisServer(tmp_path / "redis", *options)
        server.start()
        servers.append(server)
        clinic.config["redis"] = {"addr": server.addr}
        return server

    yield start
    for server in servers:
        server.stop()


def test_a_redis_that_would_delete_tasks(clinic: Clinic, own_redis: Callable[..., RedisServer]) -> None:
    own_redis("--maxmemory-policy", "allkeys-lru")
    found = clinic.diagnose().of("redis")
    assert found[0].startswith("its maxmemory-policy is allkeys-lru")
    assert "noeviction" in found[0]


def test_a_redis_that_is_full(clinic: Clinic, own_redis: Callable[..., RedisServer]) -> None:
    own_redis("--maxmemory", "100kb")
    assert "its memory is full" in clinic.diagnose().of("redis")[0]


def test_a_redis_that_forgets_everything_is_a_warning(clinic: Clinic, own_redis: Callable[..., RedisServer]) -> None:
    own_redis()
    assert "a restart loses all tasks" in clinic.diagnose().of("redis", "warning")[0]


def test_a_redis_that_keeps_its_data_is_none(clinic: Clinic, own_redis: Callable[..., RedisServer]) -> None:
    own_redis("--appendonly", "yes")
    assert clinic.diagnose().of("redis", "warning") == []


def test_a_redis_that_refuses_the_password(clinic: Clinic, own_redis: Callable[..., RedisServer]) -> None:
    own_redis("--requirepass", "right-one")
    clinic.config["redis"]["password"] = "wrong-one"
    found = clinic.diagnose()
    assert "WRONGPASS" in found.of("redis")[0]
    assert "redis.password_file" in found.of("redis")[0]
    assert "wrong-one" not in found.text


def test_a_replica_is_no_place_for_tasks(
    clinic: Clinic, own_redis: Callable[..., RedisServer], redis_server: RedisServer
) -> None:
    own_redis("--replicaof", "127.0.0.1", str(redis_server.port))
    assert "it is a replica" in clinic.diagnose().of("redis")[0]


async def test_a_loopback_address_from_a_remote_server_is_explained(redis_server: RedisServer) -> None:
    (away,) = await redis_check._one(RedisOptions(f"127.0.0.1:{free_port()}"), "runqy.example.com")
    assert away.level.value == "problem"
    assert "the server runqy.example.com says that Redis is at 127.0.0.1:" in away.found
    assert "set redis.addr" in away.advice
    there = await redis_check._one(RedisOptions(redis_server.addr), "runqy.example.com")
    assert [each.level.value for each in there if "runqy.example.com" in each.found] == ["warning"]


def test_an_instance_is_examined_with_its_stored_key(
    clinic: Clinic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, key = tmp_path / "host", tmp_path / "key"
    root.mkdir()
    key.write_text(clinic.control.api_key)
    words = ["--server-url", clinic.control.url, "--api-key-file", str(key), "--root", str(root)]
    words += ["--set", f"deployment.dir={tmp_path}/deployment", "--set", "deployment.index_url=file:///nowhere"]
    assert main(["instance", "add", "jobs", *words]) == 0
    capsys.readouterr()
    found = clinic.run("jobs", "--root", str(root))
    assert found.problems == []
    assert found.of("server", "ok")
    secret = root / "etc/credstore/runqy-worker.jobs.api-key"
    secret.chmod(0o644)
    found = clinic.run("--root", str(root))
    assert f"chmod 0600 {secret}" in found.of("permissions")[0]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644
    assert clinic.control.api_key not in found.text


def test_an_instance_that_is_not_there_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "nope", "--root", str(tmp_path)]) == 1
    assert "there is no instance 'nope'" in capsys.readouterr().err


def test_people_get_a_line_per_finding_and_what_to_do(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    clinic.config["server"]["api_key"] = "outdated-key"
    clinic.diagnose()
    assert main(["doctor", "--config", str(clinic.directory / "config.yml")]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  PROBLEM  server"))
    assert lines[at + 1].strip().startswith("-> compare the key")
    assert lines[-1].startswith("1 problem, ")
