"""What is remembered of a deployed release: one small JSON file, written last, so that it also means "complete"."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from runqy_worker.domain.launch import Mode

if TYPE_CHECKING:
    from pathlib import Path

NAME = "release.json"


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """The facts about one deployed release.

    Attributes:
        id: Its directory's name: short commit, then a hash of the options it was made with.
        commit: Full commit id.
        url: The repository, without credentials.
        ref: Branch, tag or commit that was asked for; empty for the default branch.
        code_path: Folder of the task code inside the repository.
        environment: Key of its environment.
        startup_cmd: The command that it was deployed with.
        mode: `long_running` or `one_shot`.
        made_at: Unix seconds.
        ok: It proved itself ready at least once, and was not rolled back since.
        rolled_back: It was rolled back; it is not deployed again by itself.
        confirmed_at: Unix seconds of when it last became the current one; 0 for never.
    """

    id: str
    commit: str
    url: str
    ref: str
    code_path: str
    environment: str
    startup_cmd: str
    mode: str
    made_at: float
    ok: bool = False
    rolled_back: bool = False
    confirmed_at: float = 0

    def confirmed(self, now: float) -> ReleaseRecord:
        """The record after the release proved itself ready."""
        return replace(self, ok=True, rolled_back=False, confirmed_at=now)

    def rejected(self) -> ReleaseRecord:
        """The record after the release was rolled back."""
        return replace(self, ok=False, rolled_back=True)


def write_record(folder: Path, record: ReleaseRecord) -> None:
    """Write it whole or not at all, and make sure that it is on the disk."""
    temporary = folder / f"{NAME}.{os.getpid()}.new"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)


def read_record(folder: Path) -> ReleaseRecord | None:
    """The record in `folder`; None when there is none, or none that this version understands."""
    try:
        found: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
        record = ReleaseRecord(**found)
        Mode(record.mode)
    except (OSError, ValueError, TypeError):
        return None
    return record
