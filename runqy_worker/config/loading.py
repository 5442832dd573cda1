"""Loads the configuration.

Later wins: defaults, config.yml, instances/NAME.yml, credentials and files, environment, flags.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SECRETS, SETTINGS, build
from runqy_worker.config.environment import read_environment, read_flags
from runqy_worker.config.masking import quoted
from runqy_worker.config.report import Report
from runqy_worker.config.rules import View, check
from runqy_worker.config.secrets import read_credentials, read_files
from runqy_worker.config.yamlfile import read_yaml
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from runqy_worker.config.model import Config
    from runqy_worker.config.values import Assignment

DEFAULT_PATH = Path("/etc/runqy-worker/config.yml")
"""Where packages install the file. One in the current directory is preferred."""

_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*\Z", re.ASCII)
_RIVALS: Mapping[str, str] = {
    "worker.queue": "worker.queues",
    **{entry.key: entry.file_key for entry in SECRETS},
}
"""Two ways to say one thing: a later source that uses one of them overrides both."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and how it came about.

    Attributes:
        config: The settings in effect.
        origins: Dotted key -> where its value is from: `config.yml:12`, `RUNQY_API_KEY`, `credential api-key`,
            `/run/key (config.yml:3)`, `--queues`, `default`.
        warnings: One line each, for the operator.
        files: The YAML files that were read.
        secret_files: The files that `*_file` settings name.
        secrets: Keys of the secrets that are set, whether they were read or not.
    """

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    secret_files: tuple[Path, ...] = ()
    secrets: frozenset[str] = frozenset()


def load_config(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    instance: str | None = None,
    fragment: Path | None = None,
    allow_unknown: bool = False,
) -> Config:
    """The configuration, ready to run with. See `load_with_origins` for the arguments.

    Raises:
        ConfigError: With every problem found.
    """
    loaded = load_with_origins(
        path, environ=environ, flags=flags, instance=instance, fragment=fragment, allow_unknown=allow_unknown
    )
    return loaded.config


def load_with_origins(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    instance: str | None = None,
    fragment: Path | None = None,
    allow_unknown: bool = False,
    check_files: bool = True,
    partial: bool = False,
    expected_credentials: Collection[str] = (),
    further: Callable[[Config, Report], None] | None = None,
) -> Loaded:
    """Load the configuration and remember where each value is from.

    Args:
        path: The main file; when None, `config.yml` here, else in /etc/runqy-worker, else none.
        environ: The variables; the process's own when None.
        flags: Dotted key -> text, from the command line.
        instance: Name of the instance whose fragment `instances/NAME.yml` beside the main file is laid over it.
        fragment: A file to lay over the main file, instead of the instance's.
        allow_unknown: Unknown keys and variables are only warnings.
        check_files: Read the files that hold secrets. Without, it is enough that they are named.
        partial: These files are only a part of a configuration: nothing is required.
        expected_credentials: systemd credentials that count as given although they are not here.
        further: Looks at the settings too, good or not, and reports what else is wrong.

    Raises:
        ConfigError: With every problem found.
    """
    variables = os.environ if environ is None else environ
    report = Report(allow_unknown=allow_unknown, partial=partial)
    files = _files(path, instance, fragment, report)
    layers = [read_yaml(file, variables, report, check_files=check_files) for file in files]
    layers.append(read_credentials(variables, expected_credentials, report, check_files=check_files))
    layers.append(read_environment(variables, report))
    layers.append(read_flags(flags or {}, report))
    given = _merge(layers)
    secrets, secret_files = read_files(given, report, check_files=check_files)
    given |= secrets
    config = build({key: assignment.value for key, assignment in given.items()})
    view = View(config, given, home=" + ".join(map(str, files)) or "configuration")
    if not report.halted:
        check(view, report, partial=partial)
    if further is not None:
        further(config, report)
    if report.problems:
        raise ConfigError(tuple(report.problems))
    return Loaded(
        config=config,
        origins={key: view.where(key) for key in SETTINGS},
        warnings=tuple(report.warnings),
        files=files,
        secret_files=secret_files,
        secrets=frozenset(entry.key for entry in SECRETS if view.has(entry.key)),
    )


def default_path() -> Path | None:
    """The main file when none is named: `config.yml` in the current directory, else the installed one, else none."""
    here = Path("config.yml")
    return next((path for path in (here, DEFAULT_PATH) if os.path.exists(path)), None)  # noqa: PTH110 - never raises


def _files(path: str | Path | None, instance: str | None, fragment: Path | None, report: Report) -> tuple[Path, ...]:
    main = default_path() if path is None else Path(path)
    overlay = fragment
    if overlay is None and instance is not None:
        if _INSTANCE.match(instance) is None:
            report.broken("--instance", f"found {quoted(instance)}, expected letters, digits and . _ : @ -")
        else:
            overlay = _overlay((main or DEFAULT_PATH).parent / "instances", instance, report)
    return tuple(file for file in (main, overlay) if file is not None)


def _overlay(directory: Path, instance: str, report: Report) -> Path | None:
    path = directory / f"{instance}.yml"
    if os.path.lexists(path):
        return path
    known = ", ".join(sorted(other.stem for other in directory.glob("*.yml"))) or "none"
    report.broken("--instance", f"found {quoted(instance)}, but there is no {path}; instances there: {known}")
    return None


def _merge(layers: list[dict[str, Assignment]]) -> dict[str, Assignment]:
    merged: dict[str, Assignment] = {}
    for layer in layers:
        for pair in _RIVALS.items():
            if not layer.keys().isdisjoint(pair):
                for key in pair:
                    merged.pop(key, None)
        merged |= layer
    return merged
