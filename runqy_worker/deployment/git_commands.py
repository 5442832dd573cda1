"""Git commands for one remote: access, time limit, progress and errors in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runqy_worker.deployment.commands import Activity, Command, CommandResult, run
from runqy_worker.deployment.git_errors import git_error
from runqy_worker.deployment.progress import Progress
from runqy_worker.deployment.redaction import Redactor

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.config.model import GitConfig
    from runqy_worker.deployment.git_access import GitAccess
    from runqy_worker.deployment.remote import Remote
    from runqy_worker.domain.errors import DeploymentError
    from runqy_worker.domain.events import Listener


@dataclass(slots=True)
class Git:
    """Runs git for one remote.

    Attributes:
        remote: The repository.
        access: How git gets in.
        config: Time limit and key, for messages.
        listener: Hears git's progress.
        redact: Masks secrets in what git says.
        activity: Beats while git works.
        ref: What is being deployed, for messages.
    """

    remote: Remote
    access: GitAccess
    config: GitConfig
    listener: Listener
    redact: Redactor = field(default_factory=Redactor)
    activity: Activity = field(default_factory=Activity)
    ref: str = ""

    async def run(self, *args: str, cwd: Path, step: str = "clone", env: dict[str, str] | None = None) -> CommandResult:
        """Run it whatever its exit status; progress goes to the listener."""
        command = Command(
            argv=("git", *self.access.arguments(), *args),
            step=step,
            cwd=cwd,
            env=self.access.environment() | (env or {}),
            timeout=self.config.timeout,
            capture=True,
        )
        return await run(
            command, on_line=Progress(self.listener, "git_progress"), redact=self.redact, activity=self.activity
        )

    async def check(self, *args: str, cwd: Path, doing: str, env: dict[str, str] | None = None) -> str:
        """Run it and return what it printed.

        Raises:
            DeploymentError: It failed; the message tells the cause where git's words give it away.
        """
        result = await self.run(*args, cwd=cwd, env=env)
        if result.returncode != 0:
            raise self.error(result, doing)
        return result.stdout

    def error(self, result: CommandResult, doing: str) -> DeploymentError:
        """The error for a command that failed."""
        return git_error(
            result.tail,
            doing=doing,
            host=self.remote.host or "the repository",
            url=self.remote.url,
            ref=repr(self.ref) if self.ref else "the default branch",
            known_hosts=self.access.known_hosts or "the user's own",
            ssh_key=self.config.ssh_key or "the user's own",
        )
