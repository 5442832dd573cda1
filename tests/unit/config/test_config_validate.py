from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runqy_worker.cli import validate

if TYPE_CHECKING:
    from unit.config.conftest import Desk

GOOD = "server: {url: 'http://localhost:8081', api_key_file: /nowhere}\nworker: {queue: inference}\n"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    validate.configure(parser)
    args = parser.parse_args(arguments)
    status: int = args.run(args)
    return status


@pytest.fixture(autouse=True)
def _installed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def test_a_good_file_on_a_path_of_its_own(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write(GOOD, "tmp/ansible-x1")
    assert run("--config", str(path)) == 0
    captured = capsys.readouterr()
    assert captured.out == (f"ok: {path}: queues: inference; concurrency: 1; definitions from: http://localhost:8081\n")
    assert captured.err == ""


def test_problems_go_to_stderr_with_their_count(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write("worker: {queue: a, concurrency: x}\n", "tmp/bad.yml")
    assert run("--config", str(path)) == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith(f'{path}:1: worker.concurrency: found "x"')
    assert lines[-1] == "3 problems"
    assert len(lines) == 4


def test_one_problem_is_counted_in_the_singular(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write(GOOD + "lease: {duration: x}\n")
    assert run("--config", str(path)) == 78
    assert capsys.readouterr().err.splitlines()[-1] == "1 problem"


def test_a_fragment_is_laid_over_the_installed_file(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    base = desk.write(GOOD, "etc/config.yml")
    fragment = desk.write("worker: {queue: reports}\n", "tmp/fragment.yml")
    assert run("--fragment", str(fragment)) == 0
    assert f"ok: {base} + {fragment}: queues: reports;" in capsys.readouterr().out


def test_a_fragment_is_laid_over_another_file(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    base = desk.write(GOOD, "tmp/base.yml")
    fragment = desk.write("worker: {concurrency: x}\n", "tmp/fragment.yml")
    assert run("--config", str(base), "--fragment", str(fragment)) == 78
    assert capsys.readouterr().err.startswith(f"{fragment}:1: worker.concurrency")


def test_a_fragment_without_a_main_file_must_suffice(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    fragment = desk.write(GOOD, "tmp/fragment.yml")
    assert run("--fragment", str(fragment)) == 0
    assert capsys.readouterr().out.startswith(f"ok: {fragment}: queues: inference;")


def test_an_installed_instance(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(GOOD, "etc/config.yml")
    desk.write("worker: {concurrency: 4}\n", "etc/instances/gpu.yml")
    assert run("--instance", "gpu") == 0
    assert "concurrency: 4" in capsys.readouterr().out


@pytest.mark.parametrize("named", [False, True])
def test_an_instance_that_is_not_there_is_an_error(desk: Desk, capsys: pytest.CaptureFixture[str], named: bool) -> None:
    main = desk.write(GOOD, "etc/config.yml")
    desk.write("worker: {concurrency: 4}\n", "etc/instances/gpu.yml")
    assert run(*(("--config", str(main)) if named else ()), "--instance", "nope") == 78
    expected = f'--instance: found "nope", but there is no {main.parent}/instances/nope.yml; instances there: gpu\n'
    assert capsys.readouterr().err.startswith(expected)


def test_a_missing_main_file_is_an_error(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    fragment = desk.write(GOOD, "tmp/fragment.yml")
    assert run("--fragment", str(fragment), "--config", "/nowhere.yml") == 78
    assert "/nowhere.yml: cannot be read" in capsys.readouterr().err


def test_a_main_file_without_queues_is_checked_in_part(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write("server: {url: 'http://localhost:8081'}\nlease: {duration: 20s}\n")
    assert run("--config", str(path)) == 78
    assert run("--config", str(path), "--partial") == 0
    assert "queues: none yet" in capsys.readouterr().out


def test_a_credential_of_the_unit_can_be_promised(desk: Desk) -> None:
    path = desk.write("server: {url: 'http://localhost:8081'}\nworker: {queue: a}\n")
    assert run("--config", str(path)) == 78
    assert run("--config", str(path), "--credential", "api-key") == 0


def test_a_credential_that_nobody_knows_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write(GOOD)
    with pytest.raises(SystemExit) as ended:
        run("--config", str(path), "--credential", "api-kee")
    assert ended.value.code != 0
    assert "'api-kee'" in capsys.readouterr().err


def test_unknown_keys_can_be_let_through(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write(GOOD + "old: {}\n")
    assert run("--config", str(path)) == 78
    assert run("--config", str(path), "--allow-unknown") == 0
    assert f"warning: {path}:3: the section old is not known" in capsys.readouterr().err


LOCAL = "worker: {{queue: {queue}}}\nredis: {{addr: '127.0.0.1:6379'}}\nlocal: {{queues_file: {file}}}\n"
QUEUES = "queues:\n  jobs:\n    priority: 1\n    deployment: {git_url: /code, startup_cmd: python main.py}\n"


def test_the_queues_file_is_checked_with_everything_else(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    queues = desk.write("queues:\n  jobs:\n    deployment: {git_url: /code, startup_cmd: ''}\n", "queues.yml")
    path = desk.write(LOCAL.format(queue="jobs", file=queues) + "lease: {duration: x}\n")
    assert run("--config", str(path)) == 78
    said = capsys.readouterr().err
    assert "lease.duration" in said
    assert f"{queues}:3: queues.jobs.deployment.startup_cmd: is empty" in said
    assert said.endswith("3 problems\n")


def test_a_queue_that_the_queues_file_does_not_define_is_named(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    queues = desk.write(QUEUES, "queues.yml")
    path = desk.write(LOCAL.format(queue="jbos", file=queues))
    assert run("--config", str(path)) == 78
    expected = f"{queues}: queue 'jbos' is not defined, expected one of: jobs, jobs.default"
    assert expected in capsys.readouterr().err


def test_without_a_server_redis_must_be_named(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    queues = desk.write(QUEUES, "queues.yml")
    path = desk.write(f"worker: {{queue: jobs}}\nlocal: {{queues_file: {queues}}}\n")
    assert run("--config", str(path)) == 78
    assert "redis.addr: missing, expected host:port" in capsys.readouterr().err
    assert run("--config", str(path), "--partial") == 0


def test_a_queues_file_on_another_host_is_only_mentioned(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.write(LOCAL.format(queue="jobs", file="/nowhere/queues.yml"))
    assert run("--config", str(path)) == 0
    assert "warning: local.queues_file: /nowhere/queues.yml is not on this host" in capsys.readouterr().err


def test_variables_alone(desk: Desk, enough: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in enough.items():
        monkeypatch.setenv(name, value)
    assert run() == 0


def test_it_starts_without_the_heavy_libraries() -> None:
    program = (
        "import sys, runqy_worker.cli.validate, runqy_worker.cli.config_show\n"
        "print(*sorted({'redis', 'asyncio', 'requests', 'msgspec', 'psutil', 'difflib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
