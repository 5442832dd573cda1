"""The configuration's shape: one frozen dataclass per section, one field per setting. Seconds and bytes throughout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runqy_worker.config.fields import setting

MIB = 1024 * 1024
OFF = "off"
"""What `health.address` says where nobody may ask."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The runqy control server."""

    url: str = setting("", "URL of the runqy server. Required unless `local.queues_file` is set.", env="RUNQY_SERVER_URL")
    api_key: str = setting("", "Key that the worker authenticates with.", env="RUNQY_API_KEY", secret=True, credential="api-key")
    api_key_file: str = setting("", "File that holds the key.", kind="path", env="RUNQY_API_KEY_FILE")
    ca_file: str = setting("", "CA bundle to verify the server's certificate with, instead of the system's.", kind="path", env="RUNQY_SERVER_CA_FILE")
    proxy: str = setting("", "Proxy for calls to the server; HTTPS_PROXY and NO_PROXY are honoured when empty.", env="RUNQY_SERVER_PROXY")
    timeout: float = setting(30.0, "How long one call may take.", kind="duration", env="RUNQY_SERVER_TIMEOUT", minimum=0.1)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What this worker takes on."""

    queue: str = setting("", "The queue to work on: a parent (`inference`) or one sub-queue (`inference.high`).")
    queues: tuple[str, ...] = setting((), "Several queues; each parent has its own deployment and process.", kind="list", env="RUNQY_QUEUES")
    concurrency: int = setting(1, "Tasks in hand at once, per supervised process.", kind="int", env="RUNQY_CONCURRENCY", minimum=1, maximum=10000)
    shutdown_timeout: float = setting(30.0, "How long running tasks may go on after a stop was asked for.", kind="duration", env="RUNQY_SHUTDOWN_TIMEOUT", minimum=0)
    strict_priority: bool = setting(False, "Always serve the sub-queue of highest priority first, instead of by weight.", kind="bool", env="RUNQY_STRICT_PRIORITY")
    wait_connections: int = setting(8, "Most connections per parent queue that wait for tasks; further sub-queues take turns.", kind="int", env="RUNQY_WAIT_CONNECTIONS", minimum=1, maximum=1000)
    state_dir: str = setting("", "Where the worker keeps its own state; `.runqy` below `deployment.dir` when empty.", kind="path", env="RUNQY_STATE_DIR")


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    """Contacting the server at start."""

    retries: int = setting(3, "Attempts per round; between rounds the delay grows. A refusal that can't heal ends at once.", kind="int", env="RUNQY_BOOTSTRAP_RETRIES", minimum=1)
    retry_delay: float = setting(5.0, "Delay between attempts, jittered.", kind="duration", env="RUNQY_BOOTSTRAP_RETRY_DELAY", minimum=0)
    give_up: bool = setting(False, "Exit after the first round instead of trying for ever.", kind="bool", env="RUNQY_BOOTSTRAP_GIVE_UP")


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """Where and how the task code is deployed."""

    dir: str = setting("./deployment", "Directory for releases, environments and the git mirror.", kind="path", env="RUNQY_DEPLOYMENT_DIR")
    use_system_site_packages: bool = setting(True, "Let the environment see the base interpreter's packages.", kind="bool", env="RUNQY_USE_SYSTEM_SITE_PACKAGES")
    python: str = setting("", "Interpreter for the task code: a path, a command or a version such as `3.9` (3.8 or newer).", env="RUNQY_DEPLOYMENT_PYTHON")
    installer: str = setting("auto", "What makes environments: `uv` when it is present, else `venv`.", env="RUNQY_DEPLOYMENT_INSTALLER", choices=("auto", "uv", "venv"))
    keep_releases: int = setting(3, "Deployed releases kept beside the one in use, for rollback.", kind="int", env="RUNQY_KEEP_RELEASES", minimum=0)
    switch: str = setting("auto", "How a new release takes over: `overlap` starts it beside the old one, `stop_first` ends the old one before.", env="RUNQY_DEPLOYMENT_SWITCH", choices=("auto", "overlap", "stop_first"))
    environment: str = setting("service", "`service` passes the service's own environment to the task code, `clean` only an allow-list.", env="RUNQY_DEPLOYMENT_ENVIRONMENT", choices=("service", "clean"))
    timeout: float = setting(3600.0, "How long one deploy may take.", kind="duration", env="RUNQY_DEPLOYMENT_TIMEOUT", minimum=1)
    index_url: str = setting("", "Package index to install from.", env="RUNQY_INDEX_URL")
    extra_index_urls: tuple[str, ...] = setting((), "Further package indexes.", kind="list", env="RUNQY_EXTRA_INDEX_URLS")
    index_username: str = setting("", "User name for the package indexes.", env="RUNQY_INDEX_USERNAME")
    index_password: str = setting("", "Password or token for the package indexes.", env="RUNQY_INDEX_PASSWORD", secret=True, credential="index-password")
    index_password_file: str = setting("", "File that holds that password.", kind="path", env="RUNQY_INDEX_PASSWORD_FILE")


@dataclass(frozen=True, slots=True)
class GitConfig:
    """Access to the repository of the task code."""

    ssh_key: str = setting("", "SSH private key file.", kind="path", env="RUNQY_GIT_SSH_KEY", credential="ssh-key")
    token: str = setting("", "Token for https; wins over the server's.", env="RUNQY_GIT_TOKEN", secret=True, credential="git-token")
    token_file: str = setting("", "File that holds the token.", kind="path", env="RUNQY_GIT_TOKEN_FILE")
    known_hosts: str = setting("", "known_hosts file; the user's own when empty.", kind="path", env="RUNQY_GIT_KNOWN_HOSTS", credential="known-hosts")
    strict_host_key_checking: bool = setting(True, "Refuse ssh hosts that known_hosts does not list.", kind="bool", env="RUNQY_GIT_STRICT_HOST_KEY_CHECKING")
    ca_file: str = setting("", "CA bundle for https remotes.", kind="path", env="RUNQY_GIT_CA_FILE")
    timeout: float = setting(600.0, "How long one git command may take.", kind="duration", env="RUNQY_GIT_TIMEOUT", minimum=1)


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """Retries of failed tasks."""

    max_retry: int = setting(3, "For tasks that don't carry their own limit.", kind="int", env="RUNQY_MAX_RETRY", minimum=0)


@dataclass(frozen=True, slots=True)
class RecoveryConfig:
    """What happens when the task code's process dies."""

    enabled: bool = setting(True, "Restart a crashed process.", kind="bool", env="RUNQY_RECOVERY_ENABLED")
    max_restarts: int = setting(5, "Consecutive restarts before the worker is degraded.", kind="int", env="RUNQY_RECOVERY_MAX_RESTARTS", minimum=0)
    initial_delay: float = setting(1.0, "Delay before the first restart.", kind="duration", env="RUNQY_RECOVERY_INITIAL_DELAY", minimum=0)
    max_delay: float = setting(300.0, "Longest delay between restarts.", kind="duration", env="RUNQY_RECOVERY_MAX_DELAY", minimum=0)
    backoff_factor: float = setting(2.0, "Growth of the delay from one restart to the next.", kind="float", env="RUNQY_RECOVERY_BACKOFF_FACTOR", minimum=1)
    cooldown_period: float = setting(600.0, "Time without a crash that resets the counter.", kind="duration", env=("RUNQY_RECOVERY_COOLDOWN", "RUNQY_RECOVERY_COOLDOWN_PERIOD"), minimum=0)
    on_degraded: str = setting("stay", "`stay` keeps the worker up without claiming; `exit` ends it so that systemd starts a fresh one.", env="RUNQY_RECOVERY_ON_DEGRADED", choices=("stay", "exit"))
    max_deaths: int = setting(3, "Process deaths charged to one task after which it is archived.", kind="int", env="RUNQY_RECOVERY_MAX_DEATHS", minimum=1)
    max_reruns: int = setting(3, "Involuntary re-runs of one task after which a further one counts as its failure.", kind="int", env="RUNQY_RECOVERY_MAX_RERUNS", minimum=0)


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """The task code's processes."""

    max_line: int = setting(64 * MIB, "Longest line that the task code may print.", kind="size", env="RUNQY_MAX_LINE", minimum=1024)
    timeout_grace: float = setting(5.0, "How long the neighbours of a timed-out task may go on in a concurrent process.", kind="duration", env="RUNQY_TIMEOUT_GRACE", minimum=0)
    cancel_grace: float = setting(5.0, "How long a cancelled task may go on before its process is ended.", kind="duration", env="RUNQY_CANCEL_GRACE", minimum=0)
    cancel_outcome: str = setting("archive", "What becomes of a cancelled task.", env="RUNQY_CANCEL_OUTCOME", choices=("archive", "retry"))
    stop_grace: float = setting(5.0, "Time between SIGTERM and SIGKILL.", kind="duration", env="RUNQY_STOP_GRACE", minimum=0)
    standby: str = setting("auto", "One-shot processes started ahead: a number up to the concurrency, or `auto` (1 on CPU, 0 on CUDA or when memory is short).", env="RUNQY_STANDBY")
    standby_max_age: float = setting(300.0, "Age at which an unused standby is replaced.", kind="duration", env="RUNQY_STANDBY_MAX_AGE", minimum=1)
    max_tasks: int = setting(0, "Replace a long-running process after this many tasks; 0 never.", kind="int", env="RUNQY_PROCESS_MAX_TASKS", minimum=0)
    max_rss: int = setting(0, "Replace it when it holds more memory than this; 0 never.", kind="size", env="RUNQY_PROCESS_MAX_RSS", minimum=0)
    max_age: float = setting(0.0, "Replace it at this age; 0 never.", kind="duration", env="RUNQY_PROCESS_MAX_AGE", minimum=0)


@dataclass(frozen=True, slots=True)
class LifecycleConfig:
    """How long tasks wait, run and are kept. A task's own value, set by the server, wins."""

    ttl_completed: float | None = setting(None, "Keep completed tasks this long; unset keeps them as each task asks, 0 deletes them at once.", kind="duration", env="RUNQY_TTL_COMPLETED", minimum=0)
    ttl_archived: float | None = setting(None, "Keep archived tasks this long; unset means 90 days, 0 for ever.", kind="duration", env="RUNQY_TTL_ARCHIVED", minimum=0)
    pending_timeout: float = setting(0.0, "Archive a task unrun when it has waited longer; 0 never.", kind="duration", env="RUNQY_PENDING_TIMEOUT", minimum=0)
    active_timeout: float = setting(0.0, "Longest run of one attempt, beside the task's own timeout; 0 no further limit.", kind="duration", env="RUNQY_ACTIVE_TIMEOUT", minimum=0)
    archive_limit: int = setting(10000, "Most archived tasks kept per queue; 0 no limit.", kind="int", env="RUNQY_ARCHIVE_LIMIT", minimum=0)


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """How the fleet notices a dead worker."""

    duration: float = setting(12.0, "How long a claim lasts without renewal.", kind="duration", env="RUNQY_LEASE_DURATION", minimum=0.2)
    renew_every: float = setting(3.0, "How often leases are renewed.", kind="duration", env="RUNQY_LEASE_RENEW_EVERY", minimum=0.05)
    recover_every: float = setting(3.0, "How often lapsed leases are looked for.", kind="duration", env="RUNQY_LEASE_RECOVER_EVERY", minimum=0.05)


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """A local answer to where Redis is; each set value wins over the server's."""

    addr: str = setting("", "host:port, or the path of a unix socket.", env="RUNQY_REDIS_ADDR")
    username: str = setting("", "ACL user.", env="RUNQY_REDIS_USERNAME")
    password: str = setting("", "Password.", env="RUNQY_REDIS_PASSWORD", secret=True, credential="redis-password")
    password_file: str = setting("", "File that holds the password.", kind="path", env="RUNQY_REDIS_PASSWORD_FILE")
    db: int | None = setting(None, "Database number.", kind="int", env="RUNQY_REDIS_DB", minimum=0)
    tls: bool | None = setting(None, "Use TLS.", kind="bool", env="RUNQY_REDIS_TLS")
    ca_file: str = setting("", "CA bundle for TLS.", kind="path", env="RUNQY_REDIS_CA_FILE")
    cert_file: str = setting("", "Client certificate.", kind="path", env="RUNQY_REDIS_CERT_FILE")
    key_file: str = setting("", "Client key.", kind="path", env="RUNQY_REDIS_KEY_FILE")
    sentinel_master: str = setting("", "Master name, when `sentinel_addrs` is set.", env="RUNQY_REDIS_SENTINEL_MASTER")
    sentinel_addrs: tuple[str, ...] = setting((), "host:port of the Sentinels.", kind="list", env="RUNQY_REDIS_SENTINEL_ADDRS")
    sentinel_username: str = setting("", "ACL user on the Sentinels.", env="RUNQY_REDIS_SENTINEL_USERNAME")
    sentinel_password: str = setting("", "Password of the Sentinels.", env="RUNQY_REDIS_SENTINEL_PASSWORD", secret=True, credential="sentinel-password")
    sentinel_password_file: str = setting("", "File that holds it.", kind="path", env="RUNQY_REDIS_SENTINEL_PASSWORD_FILE")
    connect_timeout: float = setting(5.0, "How long connecting may take.", kind="duration", env="RUNQY_REDIS_CONNECT_TIMEOUT", minimum=0.05)
    timeout: float = setting(10.0, "How long one reply may take before the connection is given up.", kind="duration", env="RUNQY_REDIS_TIMEOUT", minimum=0.05)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged and how."""

    level: str = setting("info", "Least severity shown.", env="RUNQY_LOG_LEVEL", choices=("debug", "info", "warning", "error"))
    format: str = setting("auto", "`console`, `json`, `journal` (fields of their own in systemd's journal); `auto` looks at where the output goes.", env="RUNQY_LOG_FORMAT", choices=("auto", "console", "json", "journal"))
    task_lines: float = setting(20.0, "Lines about single tasks per second before they are summarised; failures are always shown.", kind="float", env="RUNQY_LOG_TASK_LINES", minimum=0)


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """The socket through which `runqy-worker status`, `deploy` and the like reach a running worker."""

    socket: str = setting("", "Path of the unix socket; `control.sock` in the service's runtime directory, else in `worker.state_dir`, when empty.", kind="path", env="RUNQY_CONTROL_SOCKET")
    own_user: bool = setting(True, "Whether the worker's own user, under which task code runs too, may do more than look.", kind="bool", env="RUNQY_CONTROL_OWN_USER")


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """Where probes and Prometheus ask: `/livez`, `/readyz`, `/startupz`, `/metrics`."""

    address: str = setting("", "`unix:PATH` or `HOST:PORT` (port 0: any that is free), `off` for none; `health.sock` in the service's runtime directory, else in `worker.state_dir`, when empty.", env="RUNQY_HEALTH_ADDRESS")
    token: str = setting("", "Token that callers of `/metrics` must send (`Authorization: Bearer ...`), and of the others to be told reasons; none when empty.", env="RUNQY_HEALTH_TOKEN", secret=True, credential="health-token")
    token_file: str = setting("", "File that holds the token.", kind="path", env="RUNQY_HEALTH_TOKEN_FILE")


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """Working without a control server."""

    queues_file: str = setting("", "Queue definitions in the runqy server's YAML format; replaces registration.", kind="path", env="RUNQY_LOCAL_QUEUES_FILE")


@dataclass(frozen=True, slots=True)
class CompatConfig:
    """Older forms."""

    plain_keys: bool = setting(False, "Also serve the oldest documented keys: `asynq:<queue>:pending` and `asynq:t:<id>` without braces.", kind="bool", env="RUNQY_COMPAT_PLAIN_KEYS")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    server: ServerConfig = field(default_factory=ServerConfig)
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    deployment: DeploymentConfig = field(default_factory=DeploymentConfig)
    git: GitConfig = field(default_factory=GitConfig)
    retry: RetryConfig = field(default_factory=RetryConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    lease: LeaseConfig = field(default_factory=LeaseConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
    log: LogConfig = field(default_factory=LogConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    compat: CompatConfig = field(default_factory=CompatConfig)

    @property
    def queues(self) -> tuple[str, ...]:
        """Every configured queue, in order, without repeats."""
        named = (self.worker.queue, *self.worker.queues) if self.worker.queue else self.worker.queues
        return tuple(dict.fromkeys(named))


Section = Any
"""One of the section dataclasses."""
