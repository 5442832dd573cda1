"""What one `dev` session runs, where it keeps things, and how the worker is told."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from runqy_worker.config import model
from runqy_worker.development.snapshot import BRANCH
from runqy_worker.development.task_code import PROGRAMS, guess_queue, guess_startup_cmd, is_remote

SHUTDOWN_TIMEOUT = 5.0
"""Seconds that running tasks get after Ctrl-C: somebody is waiting at the terminal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One session.

    Attributes:
        source: The directory whose files are run; None when `git_url` is a repository elsewhere.
        git_url: What the worker clones.
        branch: Branch of it; empty for its default branch.
        queue: Name of the parent queue.
        startup_cmd: What starts the task code.
        mode: `long_running` or `one_shot`.
        concurrency: Tasks in hand at once.
        home: Where releases and environments stay between sessions, so that the next one starts fast.
        log_level: Least severity shown.
        watch: Deploy again when files change.
        burst: End once the queue is empty.
        payloads: JSON texts to enqueue at the start.
    """

    source: Path | None
    git_url: str
    branch: str
    queue: str
    startup_cmd: str
    mode: str
    concurrency: int
    home: Path
    log_level: str = "info"
    watch: bool = False
    burst: bool = False
    payloads: tuple[str, ...] = ()

    @property
    def deployment(self) -> Path:
        """The worker's `deployment.dir`."""
        return self.home / "deployment"

    @property
    def releases(self) -> Path:
        """Where the worker keeps the queue's releases."""
        return self.deployment / "releases" / self.queue

    def definitions(self) -> dict[str, object]:
        """The queue in the runqy server's format."""
        deployment = {
            "git_url": self.git_url,
            "branch": self.branch,
            "startup_cmd": self.startup_cmd,
            "mode": self.mode,
            "redis_storage": True,
        }
        return {"queues": {self.queue: {"priority": 1, "deployment": deployment}}}

    def config(self, url: str, api_key: str) -> model.Config:
        """What a host would have in its config.yml. The settings of this machine's real worker don't reach in here.

        A broken program ends the session, except when the file that mends it is being watched for.
        """
        return model.Config(
            server=model.ServerConfig(url=url, api_key=api_key),
            worker=model.WorkerConfig(
                queue=self.queue, concurrency=self.concurrency, shutdown_timeout=SHUTDOWN_TIMEOUT
            ),
            bootstrap=model.BootstrapConfig(retries=1, retry_delay=1, give_up=not self.watch),
            deployment=model.DeploymentConfig(dir=str(self.deployment)),
            log=model.LogConfig(level=self.log_level),
        )


def make_plan(
    code: str,
    *,
    queue: str | None = None,
    cmd: str | None = None,
    mode: str = "long_running",
    branch: str = "",
    concurrency: int = 1,
    log_level: str = "info",
    watch: bool = False,
    burst: bool = False,
    payloads: tuple[str, ...] = (),
) -> Plan:
    """Fill in what was not said. `code` is a directory or the address of a repository.

    Raises:
        DeploymentError: It can't be told how the code is started.
    """
    source = None if is_remote(code) else Path(code).resolve()
    name = queue or guess_queue(str(source or code))
    home = _home(f"{source or code}\n{name}", name)
    guessed = guess_startup_cmd(source) if source and not cmd else f"python {PROGRAMS[0]}"
    return Plan(
        source=source,
        git_url=str(home / "source") if source else code,
        branch=BRANCH if source else branch,
        queue=name,
        startup_cmd=cmd or guessed,
        mode=mode,
        concurrency=concurrency,
        home=home,
        log_level=log_level,
        watch=watch,
        burst=burst,
        payloads=payloads,
    )


def _home(identity: str, name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cache / "runqy-worker" / "dev" / f"{name}-{digest}"
