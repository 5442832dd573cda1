"""One module per thing that is looked at. `ALL` has those of a worker, `HOST` those of the host."""

from runqy_worker.doctor.checks import (
    clock,
    configuration,
    disk,
    gpu,
    interpreter,
    leftovers,
    limits,
    package_index,
    permissions,
    redis,
    repository,
    restart,
    server,
    systemd,
    unit,
)
from runqy_worker.doctor.examining import Check

HOST = (
    Check("systemd", systemd.look),
    Check("clock", clock.look),
)

ALL = (
    Check("configuration", configuration.look),
    Check("permissions", permissions.look, needs_config=True),
    Check("server", server.look, needs_config=True),
    Check("redis", redis.look, needs_config=True),
    Check("repository", repository.look, needs_config=True),
    Check("interpreter", interpreter.look, needs_config=True),
    Check("package index", package_index.look, needs_config=True),
    Check("gpu", gpu.look),
    Check("unit", unit.look),
    Check("restart", restart.look),
    Check("disk", disk.look, needs_config=True),
    Check("limits", limits.look, needs_config=True),
    Check("leftovers", leftovers.look, needs_config=True),
)
