"""`runqy-worker dev`, as a person at a terminal uses it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.options import RedisOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runqy_worker.backends.asynq.task_info import TaskInfo

pytestmark = pytest.mark.timeout(180)

EXAMPLES = Path(__file__).parents[3] / "examples"
PATIENCE = 90.0
CODE = """\
import json, sys
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    answer = {"task_id": task["task_id"], "result": VALUE, "error": None, "retry": False}
    print(json.dumps(answer), flush=True)
"""


class Session:
    """A running `dev`."""

    def __init__(self, cache: Path, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runqy_worker", "dev", *args],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cache), "XDG_CACHE_HOME": str(cache)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def find(self, pattern: str) -> re.Match[str]:
        """Wait until it printed something."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = re.search(pattern, self.text)
            if found:
                return found
            assert time.monotonic() < deadline, f"{pattern!r} did not show in:\n{self.text}"
            assert self.process.poll() is None, f"it ended:\n{self.text}"
            time.sleep(0.02)

    def end(self) -> int:
        """Ctrl-C, unless it ended by itself; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Starts a session with these arguments; ended with the test."""
    sessions: list[Session] = []

    def start(*args: str) -> Session:
        sessions.append(Session(tmp_path / "cache", *args))
        return sessions[-1]

    yield start
    for session in sessions:
        if session.process.poll() is None:
            session.end()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "answers"
    directory.mkdir()
    (directory / "main.py").write_text(CODE.replace("VALUE", '"first"'))
    return directory


def run_task(addr: str, queue: str) -> TaskInfo:
    async def go() -> TaskInfo:
        async with AsynqClient(RedisOptions(addr=addr)) as client:
            task_id = await client.enqueue(f"{queue}.default", b"{}", retention=600)
            return await client.wait_result(task_id, timeout=PATIENCE)

    return asyncio.run(go())


def test_it_runs_payloads_and_ends(dev: Callable[..., Session]) -> None:
    session = dev(str(EXAMPLES / "hello-long-running"), "--burst", "--payload", '{"name": "Ada"}', "--payload", "{}")
    assert session.wait() == 0, session.text
    assert re.search(r"task \S+ completed", session.text)
    assert re.search(r"result of \S+: \{.*Ada", session.text)
    assert "the payload needs a name" in session.text
    assert "stderr | hello is ready to greet" in session.text


def test_a_failed_task_is_tried_again_soon(dev: Callable[..., Session]) -> None:
    session = dev(str(EXAMPLES / "ml-shaped"), "--burst", "--payload", '{"text": "Wo ist der Zug?", "flaky_for": 1}')
    assert session.wait() == 0, session.text
    assert re.search(r"failed after .*, retry 1 of 3 in 1 s: the feature store did not answer", session.text)
    assert re.search(r"task \S+ completed .* attempt=2", session.text)


def test_it_runs_one_shot_code(dev: Callable[..., Session]) -> None:
    session = dev(str(EXAMPLES / "hello-one-shot"), "--mode", "one_shot", "--burst", *["--payload", "{}"] * 3)
    assert session.wait() == 0, session.text
    assert len(re.findall(r"task \S+ completed", session.text)) == 3


def test_a_change_is_deployed_and_ctrl_c_leaves_nothing(dev: Callable[..., Session], code: Path) -> None:
    session = dev(str(code), "--watch")
    addr = session.find(r"Redis (127\.0\.0\.1:\d+)")[1]
    children = psutil.Process(session.process.pid).children(recursive=True)
    assert run_task(addr, "answers").result == b'"first"'
    (code / "main.py").write_text(CODE.replace("VALUE", '"second"'))
    session.find(r"changed: main\.py; deploying")
    session.find(r"answers: \S+ serves, \S+ did before")
    assert run_task(addr, "answers").result == b'"second"'
    assert session.end() == 0, session.text
    assert not any(child.is_running() for child in children)


def test_clients_of_the_server_find_it_at_work(dev: Callable[..., Session], code: Path) -> None:
    session = dev(str(code))
    match = session.find(r"curl (\S+)/queue/add -H 'X-API-Key: (\S+)' -d '(.*)'\n")
    url, key, body = match.groups()
    answer = requests.post(f"{url}/queue/add", headers={"X-API-Key": key, "Connection": "close"}, data=body, timeout=30)
    task: dict[str, Any] = answer.json()["info"]
    assert task["queue"] == "answers.default"
    waited = requests.get(f"{url}/queue/{task['id']}?wait=true", headers={"Connection": "close"}, timeout=60).json()[
        "Info"
    ]
    assert (waited["state"], json.loads(waited["Result"])) == ("completed", "first")
    assert session.end() == 0, session.text


def test_what_an_earlier_session_ran_is_not_fallen_back_on(dev: Callable[..., Session], code: Path) -> None:
    assert dev(str(code), "--burst").wait() == 0
    session = dev(str(code), "--cmd", "python nowhere.py", "--burst", "--payload", "{}")
    assert session.wait() != 0, session.text
    assert "nowhere.py" in session.text
    assert "completed" not in session.text


def test_code_that_does_not_start_ends_the_session_with_what_it_said(dev: Callable[..., Session], code: Path) -> None:
    (code / "main.py").write_text("import a_module_that_is_missing\n")
    session = dev(str(code))
    assert session.wait() == 75, session.text
    assert "No module named 'a_module_that_is_missing'" in session.text
