"""A site with a control server, and the doctor's word on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.worker_site import ECHO, Repository

from runqy_worker.cli.main import main
from runqy_worker.development.control_server import ControlServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.redis_server import RedisServer


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor said.

    Attributes:
        code: Exit code.
        text: Everything that it printed.
        findings: (check, level, found, advice) of each.
    """

    code: int
    text: str
    findings: list[tuple[str, str, str, str]]

    def of(self, check: str, level: str = "problem") -> list[str]:
        """What one check found, of one level, each with its advice."""
        return [f"{found} -> {advice}" for name, how, found, advice in self.findings if (name, how) == (check, level)]

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Check and text of each problem."""
        return [(check, found) for check, level, found, _ in self.findings if level == "problem"]


class Clinic:
    """A configuration that can be spoilt, and the doctor."""

    def __init__(self, directory: Path, control: ControlServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.control = control
        self.config: dict[str, Any] = {
            "server": {"url": control.url, "api_key": control.api_key},
            "worker": {"queue": "jobs"},
            "deployment": {"dir": str(directory / "deployment"), "index_url": "file:///nowhere"},
        }
        self._capsys = capsys

    def diagnose(self, *words: str) -> Diagnosis:
        """`runqy-worker doctor --config ... --json`."""
        path = self.directory / "config.yml"
        path.write_text(yaml.safe_dump(self.config))
        path.chmod(0o600)
        return self.run("--config", str(path), *words)

    def run(self, *words: str) -> Diagnosis:
        """`runqy-worker doctor WORDS --json`."""
        code = main(["doctor", "--json", *words])
        text = self._capsys.readouterr().out
        findings = [
            (each["check"], each["level"], each["found"], each["advice"])
            for worker in json.loads(text)["examined"]
            for each in worker["findings"]
        ]
        return Diagnosis(code, text, findings)


@pytest.fixture
def make_queues(tmp_path: Path) -> Callable[..., Path]:
    """Writes the server's queues file."""

    def write(**changes: Any) -> Path:
        deployment = {"git_url": str(tmp_path / "code"), "branch": "main", "startup_cmd": "python main.py"}
        queue = {"priority": 1, "deployment": {**deployment, **changes}}
        path = tmp_path / "queues.yml"
        path.write_text(yaml.safe_dump({"queues": {"jobs": queue}}))
        return path

    return write


@pytest.fixture
def clinic(
    tmp_path: Path,
    redis_server: RedisServer,
    make_queues: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Clinic]:
    """Everything is well."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    Repository(tmp_path / "code", {"main.py": ECHO})
    with ControlServer(make_queues(), redis_addr=redis_server.addr) as control:
        yield Clinic(tmp_path, control, capsys)
