"""Checks the queues file that a configuration names, before any worker reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.deployment.queues_file import read_queues_file
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import Config
    from runqy_worker.config.report import Report

_REDIS = frozenset(("redis.addr", "redis.sentinel_addrs"))
_QUEUES = frozenset(("worker.queue", "worker.queues"))


def check_queues_file(
    config: Config, report: Report, *, partial: bool = False, environ: Mapping[str, str] | None = None
) -> None:
    """Report what is wrong with the file of `local.queues_file`, and what the worker would miss in it.

    A file that is not there is only worth a warning: a configuration may be checked on another host.

    Args:
        config: Names the file.
        report: Gets the problems and warnings.
        partial: The configuration is completed elsewhere: nothing is required beside the file.
        environ: Where `${VAR}` in vault entries is looked up; the process's own variables when None.
    """
    if not config.local.queues_file or "local.queues_file" in report.bad:
        return
    path = Path(config.local.queues_file)
    if not path.exists():
        report.warn("local.queues_file", f"{path} is not on this host, so it was not checked")
        return
    if not (partial or config.redis.addr or config.redis.sentinel_addrs or not report.bad.isdisjoint(_REDIS)):
        report.missing("configuration", "redis.addr", "host:port, since no server tells where Redis is")
    try:
        queues_file = read_queues_file(path, os.environ if environ is None else environ)
    except ConfigError as error:
        report.problems.extend(error.problems)
        return
    report.warnings.extend(queues_file.remarks)
    if report.bad.isdisjoint(_QUEUES):
        for queue in config.queues:
            if queues_file.find(queue) is None:
                report.problems.append(f"{path}: queue {queue!r} is not defined, expected one of: {queues_file.known}")
