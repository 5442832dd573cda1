"""The control server as a program."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

from support.redis_server import free_port

if TYPE_CHECKING:
    from pathlib import Path

QUEUES = """
queues:
  jobs:
    priority: 1
    deployment: {git_url: /srv/code, branch: main, startup_cmd: python main.py, mode: one_shot}
"""
PROGRAM = (sys.executable, "-m", "runqy_worker.development.serve")


def start(tmp_path: Path, *flags: str, queues: str = QUEUES, **environ: str) -> subprocess.Popen[str]:
    file = tmp_path / "queues.yml"
    file.write_text(queues)
    command = [*PROGRAM, "--queues-file", str(file), "--redis", "redis:6379", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **environ}, stdout=pipe, stderr=pipe, text=True)


def register(url: str, key: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/worker/register", b'{"queue": "jobs"}', headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def test_it_serves_the_queues_until_it_is_stopped(tmp_path: Path) -> None:
    with start(tmp_path, "--listen", f"127.0.0.1:{free_port()}", RUNQY_API_KEY="a-key") as server:
        assert server.stdout is not None
        said = re.match(r"control server at (\S+), queues: jobs\n", server.stdout.readline())
        assert said is not None
        key = server.stdout.readline()
        answer = register(said[1], "a-key")
        server.send_signal(signal.SIGTERM)
        rest, errors = server.communicate(timeout=30)
    assert answer["redis"] == {"addr": "redis:6379", "password": "", "db": 0, "use_tls": False}
    assert re.fullmatch(r"RUNQY_CLIENT_KEY=\S+\n", key)
    assert (server.returncode, rest, errors) == (0, "", "")


def test_it_makes_a_repository_of_a_directory(tmp_path: Path) -> None:
    code, repository = tmp_path / "code", tmp_path / "repository"
    code.mkdir()
    (code / "main.py").write_text("pass\n")
    flags = ("--code", str(code), "--repository", str(repository), "--listen", f"127.0.0.1:{free_port()}")
    with start(tmp_path, *flags) as server:
        assert server.stdout is not None
        server.stdout.readline()
        listed = ["git", "--git-dir", str(repository / ".git"), "ls-tree", "--name-only", "main"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert names == "main.py\n"


def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    with start(tmp_path, queues="queues: {jobs: {}}") as server:
        _, errors = server.communicate(timeout=30)
    assert server.returncode == 1
    assert errors.startswith("control server: ")
    assert "queues.jobs.deployment" in errors


def test_a_wrong_address_is_refused(tmp_path: Path) -> None:
    with start(tmp_path, "--listen", "3000") as server:
        _, errors = server.communicate(timeout=30)
    assert server.returncode == 2
    assert "found '3000', expected host:port" in errors
