"""Whether the GPUs that the worker is to use are there, and its unit may use them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runqy_worker.doctor.subject import Subject

DEVICES = Path("/dev")
_NEEDED = ("nvidiactl", "nvidia-uvm")
_QUERY = ("--query-gpu=uuid,name,driver_version", "--format=csv,noheader")
_ASKING = 12.0
_HIDDEN = frozenset(("", "-1", "none", "void", "NoDevFiles"))


async def look(subject: Subject) -> list[Finding]:
    """Nothing where no GPU is wanted and none is there."""
    wanted = subject.environ.get("CUDA_VISIBLE_DEVICES")
    cards = _cards()
    drop_in = subject.places is not None and subject.places.cuda.exists()
    if wanted in _HIDDEN or not (wanted or cards or drop_in):
        return []
    tool = shutil.which("nvidia-smi", path=subject.environ.get("PATH"))
    listed = await in_daemon_thread(lambda: _list(tool), name="nvidia-smi") if tool else []
    found = [*_driver(tool, listed), *_nodes(cards), *_chosen(wanted or "", listed)]
    if subject.places is not None and not drop_in:
        advice = f"runqy-worker instance add {subject.name} --force --device cuda ..."
        if wanted:
            found.append(problem("the unit may not use GPUs, but CUDA_VISIBLE_DEVICES names some", advice))
        else:
            found.append(note("there are GPUs, which this unit may not use", f"if it is to use them: {advice}"))
    if importlib.util.find_spec("pynvml") is None:
        found.append(note("no GPU figures are told: nvidia-ml-py is missing", "pip install 'runqy-worker[gpu]'"))
    return found or [ok(f"{len(listed)} GPUs: {'; '.join(listed)}")]


def _cards() -> list[Path]:
    return sorted(DEVICES.glob("nvidia[0-9]*"))


def _list(tool: str) -> list[str] | str:
    """A line per GPU, or what is wrong. Blocking."""
    try:
        done = subprocess.run([tool, *_QUERY], capture_output=True, text=True, check=False, timeout=_ASKING)
    except subprocess.TimeoutExpired:
        return f"it gave no answer within {_ASKING:g} s"
    except OSError as error:
        return str(error)
    if done.returncode != 0:
        return (done.stdout.strip() or done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _driver(tool: str | None, listed: Sequence[str] | str) -> Iterator[Finding]:
    if tool is None:
        yield warning("nvidia-smi is missing", "install the driver's utilities (nvidia-smi), as new as the driver")
    elif isinstance(listed, str):
        yield problem(f"nvidia-smi fails: {listed}", "after a driver upgrade restart the host; else look at `dmesg`")


def _nodes(cards: Sequence[Path]) -> Iterator[Finding]:
    missing = [name for name in _NEEDED if not (DEVICES / name).exists()]
    if not cards:
        yield problem(f"there is no {DEVICES}/nvidia0", "load the driver: modprobe nvidia; nvidia-modprobe -c 0 -u")
    elif missing:
        names = ", ".join(f"{DEVICES}/{name}" for name in missing)
        yield problem(f"missing: {names}", "nvidia-modprobe -c 0 -u; nvidia-persistenced keeps them there")


def _chosen(wanted: str, listed: Sequence[str] | str) -> Iterator[Finding]:
    """GPUs named by UUID must be there; an abbreviated UUID is enough for CUDA."""
    if isinstance(listed, str) or not listed:
        return
    there = [line.partition(",")[0].strip() for line in listed]
    for each in (part.strip() for part in wanted.split(",")):
        if each.startswith("GPU-") and not any(uuid.startswith(each) for uuid in there):
            advice = "name one of `nvidia-smi -L` in the instance's .env file"
            yield problem(f"CUDA_VISIBLE_DEVICES names {each}, which is not there", advice)
