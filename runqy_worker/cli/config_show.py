"""`runqy-worker config show`: the settings in effect, and where each came from."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runqy_worker.cli.config_arguments import add_credential_argument, no_file_hint
from runqy_worker.cli.parsing import DEFAULT_PATHS, add_verb, add_verbs
from runqy_worker.config.catalog import SECTIONS, SETTINGS, value_of
from runqy_worker.config.interpolation import escape
from runqy_worker.config.loading import load_with_origins
from runqy_worker.config.masking import MASK, mask_urls
from runqy_worker.config.values import human
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from runqy_worker.config.catalog import Entry
    from runqy_worker.config.loading import Loaded

_PLAIN_KINDS = frozenset({"int", "float", "bool", "duration", "size"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the commands about the configuration."""
    show = add_verb(add_verbs(parser), "show", "print every setting in effect as YAML, secrets masked")
    show.add_argument("--config", type=Path, metavar="FILE", help=f"configuration file ({DEFAULT_PATHS})")
    show.add_argument("--instance", metavar="NAME", help="overlay instances/NAME.yml beside the configuration file")
    show.add_argument("--origin", action="store_true", help="say where each value came from")
    show.add_argument("--json", action="store_true", help="print JSON: durations in seconds, sizes in bytes")
    add_credential_argument(show)
    show.add_argument("--allow-unknown", action="store_true", help="only warn of unknown keys and variables")
    show.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the settings and return the exit status: 0, or 78 for a configuration that can't be used."""
    try:
        loaded = load_with_origins(
            args.config,
            instance=args.instance,
            allow_unknown=args.allow_unknown,
            check_files=False,
            expected_credentials=args.credential,
        )
    except ConfigError as error:
        print(*error.problems, *no_file_hint(args.config), sep="\n", file=sys.stderr)
        return os.EX_CONFIG
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(as_json(loaded, origin=args.origin) if args.json else as_yaml(loaded, origin=args.origin))
    return os.EX_OK


def as_yaml(loaded: Loaded, *, origin: bool = False) -> str:
    """The settings as a configuration file that would give them again (but for the masked secrets)."""
    return "\n".join(_lines(loaded, origin=origin))


def as_json(loaded: Loaded, *, origin: bool = False) -> str:
    """The settings as JSON by section; with `origin`, each as `{"value": ..., "origin": ...}`."""
    shown: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, entry in SETTINGS.items():
        value = _masked(loaded, entry)
        shown[entry.section][entry.name] = {"value": value, "origin": loaded.origins[key]} if origin else value
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _lines(loaded: Loaded, *, origin: bool) -> Iterator[str]:
    section = ""
    for key, entry in SETTINGS.items():
        if entry.section != section:
            section = entry.section
            yield f"{section}:"
        line = f"  {entry.name}: {_yaml(entry, human(entry.setting, _masked(loaded, entry)))}"
        yield f"{line}  # {loaded.origins[key]}" if origin else line


def _masked(loaded: Loaded, entry: Entry) -> Any:
    value = value_of(loaded.config, entry.key)
    if entry.setting.secret:
        return MASK if entry.key in loaded.secrets else ""
    if isinstance(value, str):
        return mask_urls(value)
    return tuple(mask_urls(item) for item in value) if isinstance(value, tuple) else value


def _yaml(entry: Entry, value: Any) -> str:
    if value is None:
        return "null"
    if entry.setting.kind in _PLAIN_KINDS:
        return str(value).lower() if entry.setting.kind == "bool" else str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return _text(value)


def _text(value: str) -> str:
    """A double-quoted YAML text; JSON's escapes are a part of YAML's."""
    return json.dumps(escape(value), ensure_ascii=False)
