"""A place for configuration files, and short ways to load them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from runqy_worker.config.loading import Loaded, load_with_origins
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ENOUGH = {"RUNQY_SERVER_URL": "http://localhost:8081", "RUNQY_API_KEY": "k", "RUNQY_QUEUES": "inference"}
"""Variables that suffice for a configuration."""


class Desk:
    """Writes configuration files into a directory of their own, and loads them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.main = root / "config.yml"

    def write(self, text: str, name: str = "config.yml") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        path.chmod(0o600)
        return path

    def load(self, text: str | None = None, environ: dict[str, str] | None = None, **more: Any) -> Loaded:
        """Load `text` as the main file; without it the main file that is there, or none."""
        if text is not None:
            self.write(text)
        path = self.main if self.main.exists() else None
        return load_with_origins(path, environ=environ or {}, **more)

    def problems(self, text: str | None = None, environ: dict[str, str] | None = None, **more: Any) -> list[str]:
        """What is wrong, with the file's name shortened; fails when nothing is."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, environ, **more)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.replace(f"{self.root}/", "") for problem in caught.value.problems]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An empty directory, which is also the current one, and no installed configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("runqy_worker.config.loading.DEFAULT_PATH", tmp_path / "etc" / "config.yml")
    return Desk(tmp_path)


@pytest.fixture
def enough() -> dict[str, str]:
    """Variables that suffice for a configuration."""
    return dict(ENOUGH)
