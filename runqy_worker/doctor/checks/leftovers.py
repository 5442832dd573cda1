"""What earlier workers and instances left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.doctor.finding import Finding, note, ok
from runqy_worker.service.instances.places import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runqy_worker.doctor.subject import Subject
    from runqy_worker.service.instances.places import Places

_RECORDS = "children-*.jsonl"


async def look(subject: Subject) -> list[Finding]:
    """Records of processes whose worker is gone, and what belongs to no instance."""
    found = [*_records(subject)]
    if subject.places is not None:
        found += _instances(subject.places.host)
    return found or [ok("nothing was left behind")]


def _records(subject: Subject) -> Iterator[Finding]:
    """The file's name begins with the worker's process id."""
    config = subject.config
    directory = subject.path(config.worker.state_dir or str(Path(config.deployment.dir, ".runqy")))
    try:
        files = list(directory.glob(_RECORDS))
    except OSError:  # not ours to look into
        return
    for file in files:
        pid = file.name.split("-")[1]
        if not Path("/proc", pid).exists():
            text = f"{file} tells of processes whose worker, {pid}, is gone"
            yield note(text, "the next start of the worker ends them and removes it")


def _instances(host: Places) -> Iterator[Finding]:
    known = set(host.names())
    for path in sorted(host.instances.glob("*.env")):
        if path.stem not in known:
            yield note(f"{path} belongs to no instance", f"rm {path}")
    for path in sorted((host.root / "etc/systemd/system").glob(f"{PROGRAM}@*.service.d")):
        name = path.name.removeprefix(f"{PROGRAM}@").removesuffix(".service.d")
        if name and name not in known:
            yield note(f"{path} belongs to no instance", f"runqy-worker instance remove {name}")
    for path in sorted((host.root / "var/lib" / PROGRAM).glob("*")):
        if path.is_dir() and path.name not in known:
            advice = f"runqy-worker instance remove {path.name} --purge-data"
            yield note(f"{path} is of an instance that is no more", advice)
