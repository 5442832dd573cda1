"""From starting the daemon to READY when there is nothing to deploy, and where the time goes.

The release was deployed and all bytecode was compiled by an earlier start. The task code's own start is measured apart,
by starting the same command bare, and taken off.
"""

from __future__ import annotations

import compileall
import json
import signal
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import runqy_worker
from benchmarks import site
from benchmarks.bench import Bench, say
from benchmarks.figures import Figure, at_most
from runqy_worker.executors.guard import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.site import Place

NAME = "startup"
STAGES = {
    "worker_started": "imports and configuration",
    "deploy_fetching": "registration and connecting to Redis",
    "deploy_finished": "looking whether there is anything to deploy",
    "child_ready": "the task code's process, as the worker sees it",
    "ready": "the rest",
}
"""The log line that ends each stage, in order."""


def measure(bench: Bench) -> list[Figure]:
    """Timed starts of the daemon, of the bare child, and of a bare interpreter, interleaved."""
    place = bench.place("startup")
    compileall.compile_dir(next(iter(runqy_worker.__path__)), quiet=2)
    starts = [_start(place) for _ in range(bench.amounts.starts)]
    timelines = [timeline for timeline, _, _ in starts]
    children = [child for _, child, _ in starts]
    interpreters = [interpreter for _, _, interpreter in starts]
    child = statistics.median(children)
    own = [timeline["ready"] - child for timeline in timelines]
    say(f"startup: {statistics.median(own):.0f} ms without the task code's own {child:.0f} ms")
    return [
        Figure(NAME, "start to ready, without the task code's own start", "ms", own, target=at_most(400)),
        Figure(NAME, "start to ready, all of it", "ms", [timeline["ready"] for timeline in timelines]),
        Figure(NAME, "the task code's own start (the same command, bare)", "ms", children),
        Figure(NAME, "of these: a bare interpreter", "ms", interpreters),
        *stages(timelines, interpreters),
    ]


def stages(timelines: Sequence[dict[str, float]], interpreters: Sequence[float]) -> list[Figure]:
    """How long each stage took; those that the log does not tell apart belong to the next."""
    figures = []
    before = interpreters
    for action, name in STAGES.items():
        if not all(action in timeline for timeline in timelines):
            continue
        until = [timeline[action] for timeline in timelines]
        took = [end - begin for begin, end in zip(before, until, strict=True)]
        figures.append(Figure(NAME, f"of these: {name}", "ms", took))
        before = until
    return figures


def _start(place: Place) -> tuple[dict[str, float], float, float]:
    return timeline(place), until_ready(place.child_command()), whole([sys.executable, "-c", "pass"])


def timeline(place: Place) -> dict[str, float]:
    """Milliseconds from the start of a daemon until each of its log lines, by `action`, up to `ready`."""
    told: dict[str, float] = {}
    began = time.perf_counter()
    with subprocess.Popen(
        place.daemon_command(1),
        stderr=subprocess.PIPE,
        env=site.environment(),
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - calls prctl and nothing else
    ) as daemon:
        assert daemon.stderr is not None
        for line in daemon.stderr:
            now = (time.perf_counter() - began) * 1000
            action = json.loads(line).get("action", "")
            told.setdefault(action, now)
            if action == "ready":
                break
        daemon.send_signal(signal.SIGTERM)
        rest = daemon.stderr.read()
    if "ready" not in told:
        raise RuntimeError(f"the worker did not become ready: {rest.decode()}")
    return told


def until_ready(command: Sequence[str]) -> float:
    """Milliseconds from the start of the task code until it says that it is ready."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        took = time.perf_counter() - began
        child.stdin.close()
    return took * 1000


def whole(command: Sequence[str]) -> float:
    """Milliseconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return (time.perf_counter() - began) * 1000
