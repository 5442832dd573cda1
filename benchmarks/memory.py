"""What the daemon holds in memory: when ready, after very many tasks, and what each thing that it imports adds."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import cpu, load, site
from benchmarks.bench import Bench, say
from benchmarks.figures import Figure, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "memory"
CONCURRENCY = 32
EVERYTHING = "runqy_worker"
STEPS: dict[str, tuple[str, ...]] = {
    "Python itself": (),
    "asyncio": ("asyncio",),
    "hiredis": ("hiredis",),
    "msgspec": ("msgspec",),
    "psutil": ("psutil",),
    "PyYAML": ("yaml",),
    "requests": ("requests",),
    "configuration": ("runqy_worker.domain", "runqy_worker.config"),
    "backends": ("runqy_worker.backends",),
    "executors": ("runqy_worker.executors",),
    "engine": ("runqy_worker.engine",),
    "deployment": ("runqy_worker.deployment",),
    "telemetry": ("runqy_worker.telemetry",),
    "all other modules, development tools too": (EVERYTHING,),
    "uvloop (optional)": ("uvloop",),
    "prometheus-client (optional)": ("prometheus_client",),
    "psycopg (optional)": ("psycopg",),
    "pynvml (optional)": ("pynvml",),
}
"""What is imported, one after the other; a package of ours with all of its modules."""
_PROGRAM = """
import sys
def load(name):
    module = __import__(name, fromlist=["_"])
    if name.startswith("runqy_worker") and hasattr(module, "__path__"):
        import pkgutil
        for found in pkgutil.iter_modules(module.__path__, name + "."):
            if not found.name.endswith("__main__"):
                load(found.name)
for name in sys.argv[1:]:
    load(name)
status = open("/proc/self/status").read()
print(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
"""


def measure(bench: Bench) -> list[Figure]:
    """The daemon, then its imports."""
    place = bench.place("memory")
    figures = daemon(bench, place)
    say(f"memory: {figures[0].value:.1f} MiB when ready")
    return figures + imports(rounds=3)


def daemon(bench: Bench, place: site.Place) -> list[Figure]:
    """A running worker, before and after `growth_tasks`."""
    bench.empty()
    count = bench.amounts.growth_tasks
    with site.worker(place, CONCURRENCY) as process:
        pid = process.pid
        ready = cpu.resident(pid)
        figures = [
            Figure(NAME, "daemon when ready, resident", "MiB", [ready]),
            Figure(NAME, "daemon when ready, shared pages divided (PSS)", "MiB", [cpu.proportional(pid)]),
        ]
        if count:
            load.stage(bench.client, place.queues[0], count)
            bench.spent(pid, place.queues, count)
            grown = cpu.resident(pid) - ready
            figures.append(Figure(NAME, f"growth over {count:,} tasks", "MiB", [grown], target=at_most(5)))
    return figures


def imports(*, rounds: int) -> list[Figure]:
    """What each step adds, and everything together; each from fresh interpreters."""
    before = 0.0
    names: list[str] = []
    figures = []
    for step, modules in STEPS.items():
        if not all(map(importlib.util.find_spec, modules)):
            continue
        names += modules
        totals = [imported(names) for _ in range(rounds)]
        adds = statistics.median(totals) - before
        before += adds
        figures.append(Figure(NAME, f"import of {step}" if modules else step, "MiB", [adds]))
    return [*figures, Figure(NAME, "everything imported", "MiB", totals, target=at_most(60))]


def imported(names: Sequence[str]) -> float:
    """MiB resident of a fresh interpreter that imported these."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *names], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)
