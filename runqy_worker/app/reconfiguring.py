"""Which settings a reload takes over, and which need a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SETTINGS, build, value_of

if TYPE_CHECKING:
    from runqy_worker.config.model import Config

_LIVE_SECTIONS = frozenset({"server", "bootstrap", "deployment", "git", "redis", "local"})
_LIVE = frozenset({"worker.shutdown_timeout", "log.level", "log.task_lines"})
_FIXED = frozenset({"deployment.dir", "redis.connect_timeout", "redis.timeout"})
"""Of the live sections: what more than the next deploy or connection depends on."""


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """What came of reading the configuration again.

    Attributes:
        config: In force now: the new values where they can be taken over, the old ones elsewhere.
        taken: Dotted keys that were taken over.
        left: Dotted keys whose new values need a restart.
    """

    config: Config
    taken: tuple[str, ...]
    left: tuple[str, ...]


def is_live(key: str) -> bool:
    """Whether a setting can change while the worker works."""
    return key in _LIVE or (SETTINGS[key].section in _LIVE_SECTIONS and key not in _FIXED)


def reconfigured(old: Config, new: Config) -> Reconfigured:
    """The settings of `new` that can be taken over, laid over `old`."""
    changed = [key for key in SETTINGS if value_of(old, key) != value_of(new, key)]
    config = build({key: value_of(new if is_live(key) else old, key) for key in SETTINGS})
    taken = tuple(key for key in changed if is_live(key))
    return Reconfigured(config, taken, tuple(key for key in changed if key not in taken))
