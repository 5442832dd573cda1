"""What a registration says: where Redis is, which queues to serve, and what code runs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from runqy_worker.domain import queues
from runqy_worker.domain.launch import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_STARTUP_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class RedisAnswer:
    """Where tasks live, as the server knows it.

    Attributes:
        addr: `host:port` or the path of a unix socket; empty when it is configured in another way (Sentinel).
        password: Empty when none is needed.
        db: Database number.
        use_tls: Whether to connect with TLS.
        username: ACL user; empty for the default one.
    """

    addr: str
    password: str = field(default="", repr=False)
    db: int = 0
    use_tls: bool = False
    username: str = ""


@dataclass(frozen=True, slots=True)
class QueueAnswer:
    """One queue: its full name and its priority, at least 1."""

    name: str
    priority: int = 1


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What code to run.

    Attributes:
        git_url: The repository, as given; it may carry credentials, so it is not shown as it is.
        startup_cmd: The command, as one line of words and quotes. No shell sees it.
        branch: Branch, tag or commit; empty for the remote's default branch.
        code_path: Folder inside the repository where the code starts; empty for its root.
        mode: Long-running or one-shot.
        env_vars: Variables for the task code.
        startup_timeout: Seconds until the code must be ready.
        redis_storage: Whether results are written to Redis.
        vaults: Names of the vaults whose entries came along.
        requirements_file: Dependency file, relative to the code path; empty to look for the usual ones.
    """

    git_url: str = field(repr=False)
    startup_cmd: str
    branch: str = ""
    code_path: str = ""
    mode: Mode = Mode.LONG_RUNNING
    env_vars: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    startup_timeout: float = DEFAULT_STARTUP_TIMEOUT
    redis_storage: bool = True
    vaults: tuple[str, ...] = ()
    requirements_file: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """Everything that a worker is told for one of its queues.

    Attributes:
        redis: Where tasks live.
        queue: The queue that was asked for.
        sub_queues: The queues to serve; empty means `queue` itself, as older servers have it.
        deployment: What code runs them.
        vaults: Variable name -> secret value, for the task code.
        git_token: Token for the repository; empty when none is needed.
    """

    redis: RedisAnswer
    queue: QueueAnswer
    sub_queues: tuple[QueueAnswer, ...]
    deployment: DeploymentSpec
    vaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    git_token: str = field(default="", repr=False)

    @property
    def parent(self) -> str:
        """The parent queue's name."""
        return queues.parent_of(self.queue.name)

    @property
    def weights(self) -> dict[str, int]:
        """Full queue name -> priority (at least 1), in the server's order."""
        served = self.sub_queues or (self.queue,)
        return {queue.name: max(1, queue.priority) for queue in served}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must not show in logs."""
        named = (self.redis.password, self.git_token, *self.vaults.values())
        return tuple(value for value in named if value)
