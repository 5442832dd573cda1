"""What is known of an instance without asking it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.config.loading import load_with_origins
from runqy_worker.domain.errors import ConfigError
from runqy_worker.service import systemctl
from runqy_worker.service.instances.places import unit_of

if TYPE_CHECKING:
    from runqy_worker.service.instances.places import InstancePlaces


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """One instance.

    Attributes:
        name: Of the instance.
        queues: What it works on, with commas; empty when its configuration can't be read.
        concurrency: Tasks at once; 0 likewise.
        device: `cpu` or `cuda`.
        enabled: systemd's word: `enabled`, `disabled`, ...; empty without systemd.
        state: Likewise: `active`, `inactive`, `failed`, ...
        credentials: Names of its secrets, with commas.
        problem: The first thing that is wrong with its configuration; empty when nothing is.
    """

    name: str
    queues: str
    concurrency: int
    device: str
    enabled: str
    state: str
    credentials: str
    problem: str


def look_at(places: InstancePlaces) -> InstanceInfo:
    """Read its files and ask systemd about it."""
    stored = places.stored()
    queues, concurrency, problem = "", 0, ""
    try:
        config = load_with_origins(
            places.host.main if places.host.main.exists() else os.devnull,
            fragment=places.settings,
            environ={name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")},
            check_files=False,
            expected_credentials=tuple(stored),
        ).config
    except ConfigError as error:
        problem = error.problems[0]
    else:
        queues, concurrency = ",".join(config.queues), config.worker.concurrency
    state = systemctl.state_of(unit_of(places.name)) if places.host.is_this_host else None
    return InstanceInfo(
        name=places.name,
        queues=queues,
        concurrency=concurrency,
        device="cuda" if places.cuda.exists() else "cpu",
        enabled=state.get("UnitFileState") if state else "",
        state=state.get("ActiveState") if state else "",
        credentials=",".join(stored),
        problem=problem,
    )
