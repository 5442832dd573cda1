"""Finds the examples that came with this program."""

from __future__ import annotations

from pathlib import Path

from runqy_worker.service.instances.places import InstanceError

CUDA = "cuda.conf"
_PACKAGE = Path(__file__).parents[2]


def cuda_drop_in(root: Path = Path("/")) -> bytes:
    """The drop-in that lets a unit use GPUs.

    Args:
        root: The host's own tree is looked at first.

    Raises:
        InstanceError: It is nowhere to be found.
    """
    candidates = [folder / CUDA for folder in _folders(root)]
    for path in candidates:
        if path.is_file():
            return path.read_bytes()
    looked = ", ".join(map(str, candidates))
    raise InstanceError(f"--device cuda: the drop-in that came with the package is missing; looked for {looked}")


def _folders(root: Path) -> list[Path]:
    installed = Path("usr/share/doc/runqy-worker/examples/drop-ins")
    return [
        root / installed,
        _PACKAGE / "systemd" / "drop-ins",  # in a wheel
        _PACKAGE.parent / "systemd" / "drop-ins",  # in a checkout
        Path("/") / installed,
    ]
