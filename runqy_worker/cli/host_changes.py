"""What changed on the host since an instance was started, as far as whoever asks may see it.

The service manager reads these files when it starts the instance, so that the worker itself can't see them change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CREDENTIAL_STORES = (Path("/etc/credstore"), Path("/etc/credstore.encrypted"))


def newer_than(
    started_at: float, name: str, instances_dir: Path, stores: Iterable[Path] = CREDENTIAL_STORES
) -> list[str]:
    """Why the instance needs a restart: one sentence per file that changed later.

    Args:
        started_at: Unix seconds of the instance's start.
        name: The instance's.
        instances_dir: Where its environment file is.
        stores: The service manager's credential stores.
    """
    paths = [instances_dir / f"{name}.env"]
    for store in stores:
        try:
            paths += sorted(store.glob(f"runqy-worker.{name}.*"))
        except OSError:  # only root may look
            continue
    return [f"{path} changed since the worker was started" for path in paths if _changed_at(path) > started_at]


def _changed_at(path: Path) -> float:
    """When its content, owner or mode changed last, or it was put there; 0 when that can't be seen."""
    try:
        status = path.stat()
    except OSError:
        return 0.0
    return max(status.st_mtime, status.st_ctime)
