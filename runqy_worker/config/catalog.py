"""Every setting by its dotted key, read from the model once."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from runqy_worker.config.model import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.fields import Setting


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting and its place.

    Attributes:
        section: `worker`, `recovery`, ...
        name: Its name within the section.
        setting: What the model says of it.
        default: Its value when nothing sets it.
    """

    section: str
    name: str
    setting: Setting
    default: Any

    @property
    def key(self) -> str:
        """The dotted key: `worker.concurrency`."""
        return f"{self.section}.{self.name}"

    @property
    def file_key(self) -> str:
        """For a secret: the key of the setting that names a file with it."""
        return f"{self.key}_file"


def _sections() -> dict[str, type]:
    found: dict[str, type] = {}
    for section in fields(Config):
        if section.default_factory is MISSING or not isinstance(section.default_factory, type):
            raise TypeError(f"section {section.name} of the configuration is no dataclass")
        found[section.name] = section.default_factory
    return found


SECTIONS: Mapping[str, type] = _sections()
"""Section name -> its dataclass, in the model's order."""

SETTINGS: Mapping[str, Entry] = {
    entry.key: entry
    for section, shape in SECTIONS.items()
    for entry in (Entry(section, item.name, item.metadata["setting"], item.default) for item in fields(shape))
}
"""Dotted key -> setting, in the model's order."""

SECRETS: tuple[Entry, ...] = tuple(entry for entry in SETTINGS.values() if entry.setting.secret)
"""The settings that are masked; each has a sibling named `<name>_file`."""

VARIABLES: Mapping[str, Entry] = {name: entry for entry in SETTINGS.values() for name in entry.setting.env}
"""Environment variable -> the setting that it sets."""


def build(values: Mapping[str, Any]) -> Config:
    """A `Config` from typed values by dotted key; what is not given keeps its default."""
    arguments: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in values.items():
        entry = SETTINGS[key]
        arguments[entry.section][entry.name] = value
    return Config(**{section: shape(**arguments[section]) for section, shape in SECTIONS.items()})


def value_of(config: Config, key: str) -> Any:
    """The value that `config` holds for a dotted key."""
    entry = SETTINGS[key]
    return getattr(getattr(config, entry.section), entry.name)
