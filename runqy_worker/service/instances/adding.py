"""Adding an instance: made in full, checked, and only then put in place."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.config.loading import load_with_origins
from runqy_worker.deployment.queues_check import check_queues_file
from runqy_worker.domain.errors import ConfigError
from runqy_worker.service.instances import texts
from runqy_worker.service.instances.credentials import check_credentials, encrypt
from runqy_worker.service.instances.examples import cuda_drop_in
from runqy_worker.service.instances.places import InstanceError, unit_of
from runqy_worker.service.instances.placing import NewFile, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.service.instances.places import InstancePlaces

SECRET, PRIVATE, PUBLIC = 0o600, 0o640, 0o644
STORE = 0o700


@dataclass(frozen=True, slots=True)
class Wish:
    """What an instance is to be like.

    Attributes:
        values: Dotted key -> value as text, for its YAML file.
        credentials: Credential name -> secret.
        cuda: It may use GPUs.
        gpus: UUIDs of those that it may use; all when empty.
        encrypt: Encrypt the credentials.
        force: Replace an instance of that name. Its credentials stay where no new ones are given.
    """

    values: Mapping[str, str]
    credentials: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    cuda: bool = False
    gpus: tuple[str, ...] = ()
    encrypt: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """What was done.

    Attributes:
        files: What was written, in this order.
        removed: What was there of an instance before, and is no more.
        warnings: For the operator.
    """

    files: tuple[Path, ...]
    removed: tuple[Path, ...]
    warnings: tuple[str, ...]


def add(places: InstancePlaces, wish: Wish) -> Added:
    """Make the instance.

    Args:
        places: Its name and where its files go.
        wish: What it is to be like.

    Raises:
        InstanceError: It is there already, or something that it needs is not.
        ConfigError: With everything that is wrong; nothing was written.
        OSError: The files can't be written; what was there before still is.
    """
    if places.settings.exists() and not wish.force:
        message = f"the instance {places.name!r} is there already: {places.settings}; --force replaces it"
        raise InstanceError(message)
    check_credentials(wish.credentials)
    stored = places.stored() if wish.force else {}
    given = {name: places.credential(name, encrypted=wish.encrypt) for name in wish.credentials}
    files, warnings = _checked(places, wish, {**stored, **given})
    if wish.cuda:
        files.insert(0, NewFile(places.cuda, cuda_drop_in(places.host.root)))
    for name, data in wish.credentials.items():
        secret = data.rstrip(b"\r\n")
        content = encrypt(name, secret) if wish.encrypt else secret
        files.insert(0, NewFile(given[name], content, SECRET, STORE))
    new = {file.path for file in files}
    unwanted = [path for path in _of_before(places, given) if path not in new and os.path.lexists(path)]
    place(files, unwanted)
    return Added(tuple(file.path for file in files), tuple(unwanted), warnings)


def _of_before(places: InstancePlaces, given: Mapping[str, Path]) -> list[Path]:
    """What an instance of this name may have had that would now be wrong."""
    other_form = [places.credential(name, encrypted=encrypted) for name in given for encrypted in (False, True)]
    return [places.cuda, *other_form]


def _checked(
    places: InstancePlaces, wish: Wish, credentials: Mapping[str, Path]
) -> tuple[list[NewFile], tuple[str, ...]]:
    """The settings and variables, found good together with the main file."""
    unit, main = unit_of(places.name), places.host.main
    on_host = {name: _as_seen(path, places.host.root) for name, path in credentials.items()}
    shown = _as_seen(main, places.host.root)
    settings = texts.settings_text(places.name, unit, main=shown, values=wish.values, credentials=on_host)
    store = _as_seen(places.host.store, places.host.root)
    variables = texts.variables_text(places.name, unit, store, cuda=wish.cuda, gpus=wish.gpus)
    with tempfile.TemporaryDirectory(prefix="runqy-instance-") as directory:
        draft = Path(directory, f"{places.name}.yml")
        draft.write_text(settings)
        try:
            loaded = load_with_origins(
                main if main.exists() else os.devnull,
                fragment=draft,
                environ={name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")},
                check_files=False,
                expected_credentials=tuple(credentials),
                further=check_queues_file,
            )
        except ConfigError as error:
            named = (problem.replace(str(draft), str(places.settings)) for problem in error.problems)
            raise ConfigError(tuple(named)) from None
    files = [
        NewFile(places.variables, variables.encode(), PRIVATE),
        NewFile(places.settings, settings.encode(), PUBLIC),
    ]
    if not main.exists():
        files.insert(0, NewFile(main, texts.MAIN.format(main=_as_seen(main, places.host.root)).encode(), PUBLIC))
    return files, tuple(warning.replace(str(draft), str(places.settings)) for warning in loaded.warnings)


def _as_seen(path: Path, root: Path) -> Path:
    """The path as the host itself will see it."""
    return Path("/") / path.relative_to(root)
