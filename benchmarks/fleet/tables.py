"""The blocks of figures of docs/scaling.md, each from the results of one or two scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Results = Mapping[str, Any]

FLEET = 10_000
"""The number of workers that the page extrapolates to."""
_MIB = 2**20


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Markdown lines; numbers get separators."""
    heads = list(head)
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    return lines + [_row([_cell(value) for value in row]) for row in rows]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    if isinstance(value, float) and abs(value) >= 100:
        value = round(value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def machine(results: Results) -> list[str]:
    """What it was measured on."""
    about = results["machine"]
    loads = [figures["host_load"] for figures in _flat(results) if "host_load" in figures]
    text = (
        f"Measured on {about['cores']} cores ({about['architecture']}), Redis {about['redis']} ({about['allocator']}), "
        f"Python {about['python']}. Redis, all workers and the measuring program share the cores; the host's load "
        f"average lay between {min(loads)} and {max(loads)} meanwhile."
    )
    return [text]


def _flat(results: Results) -> list[dict[str, Any]]:
    found = []
    for value in results.values():
        found += [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict)]
    return found


def requests(results: Results) -> list[str]:
    """What single round trips cost, and connections that say nothing."""
    silent = results["silent"]
    rows = [(figures["request"], figures["cpu_us"]) for figures in results["requests"]]
    text = (
        f"A connection that says nothing costs {silent['cpu_us_per_s_per_connection']} µs of CPU per second and "
        f"{silent['memory_per_connection']:,} bytes (with {silent['connections']:,} of them)."
    )
    return [*table(("one round trip with nothing to do", "Redis CPU, µs"), rows), "", text]


def tasks(results: Results) -> list[str]:
    """What tasks cost when one worker finds many pending."""
    rows = [
        (
            _batch(figures),
            figures["commands_per_task"],
            figures["cpu_us_per_task"],
            figures["bytes_in_per_task"],
            figures["bytes_out_per_task"],
            round(1e6 / figures["cpu_us_per_task"]),
        )
        for figures in results["tasks"]
    ]
    head = ("a worker with plenty to do", "commands", "CPU, µs", "bytes in", "bytes out", "so one core carries, per s")
    return table(head, rows)


def _batch(figures: Mapping[str, Any]) -> str:
    kept = ", kept when completed" if figures["retention"] else ""
    return f"concurrency {figures['concurrency']}, {figures['payload']:,} bytes of payload{kept}"


def memory(results: Results) -> list[str]:
    """What tasks occupy."""
    pending = {figures["payload"]: figures["memory_pending"] for figures in results["tasks"]}
    kept = {figures["payload"]: figures["memory_completed"] for figures in results["tasks"] if figures["retention"]}
    rows = [(f"{size:,} bytes", pending[size], kept.get(size, "not measured")) for size in sorted(pending)]
    return table(("payload", "pending, bytes per task", "completed and kept, bytes per task"), rows)


def long_tasks(results: Results) -> list[str]:
    """What a long list of running tasks adds."""
    rows = [
        (figures["long_tasks"], figures["cpu_us_per_task"], figures["usec_per_lrem"])
        for figures in results["long_tasks"]
    ]
    return table(("long tasks running in the same queue", "CPU per short task, µs", "of that one LREM, µs"), rows)


def connections(results: Results) -> list[str]:
    """How connections and the cost of doing nothing grow with sub-queues."""
    rows = [
        (
            figures["sub_queues"],
            round(figures["connections_total"] / figures["workers"], 1),
            round(figures["connections"].get("wait", 0) / figures["workers"], 1),
            figures["commands_per_s_per_worker"],
            figures["cpu_us_per_s_per_worker"],
        )
        for figures in results["sub_queues"]
    ]
    head = (
        "sub-queues",
        "connections per worker",
        "of which wait",
        "commands per worker and s",
        "CPU per worker and s, µs",
    )
    return table(head, rows)


def kinds(results: Results) -> list[str]:
    """What connections are for, and what Redis keeps for each."""
    figures, busy = results["idle"][-1], results["busy"][0]
    rows = [
        (
            f"`{kind}`",
            round(count / figures["workers"], 2),
            figures["connection_bytes"][kind],
            busy["connection_bytes"].get(kind, "none"),
        )
        for kind, count in figures["connections"].items()
    ]
    return table(("connection", "per idle worker", "bytes each, worker idle", "bytes each, worker busy"), rows)


def idle(results: Results) -> list[str]:
    """Idle workers on one queue, and ten thousand of them."""
    largest = results["idle"][-1]
    rows = [_fleet(figures, figures["workers"], f"{figures['workers']:,}") for figures in results["idle"]]
    rows.append(_fleet(largest, FLEET, f"{FLEET:,} (extrapolated)"))
    return table(_FLEET_HEAD, rows)


_FLEET_HEAD = (
    "idle workers",
    "CPU, % of a core",
    "commands/s",
    "KiB in/s",
    "KiB out/s",
    "connections",
    "MiB of memory",
)


def _fleet(figures: Mapping[str, Any], workers: int, name: str) -> tuple[object, ...]:
    scale = workers / figures["workers"]
    return (
        name if figures["kept_up"] else f"{name}; the simulation could not keep up",
        round(figures["cpu_percent"] * scale, 1),
        round(figures["commands_per_s"] * scale),
        round(figures["bytes_in_per_s"] * scale / 1024),
        round(figures["bytes_out_per_s"] * scale / 1024),
        round(figures["connections_total"] * scale),
        round(figures["memory_per_worker"] * workers / _MIB, 1),
    )


def shares(results: Results) -> list[str]:
    """What idle and busy workers ask Redis for."""
    still, busy = results["idle"][-1]["requests_per_s_per_worker"], results["busy"][0]["requests_per_s_per_worker"]
    rows = [(f"`{name}`", still.get(name, 0), busy.get(name, 0)) for name in dict.fromkeys([*still, *busy])]
    return table(("connection and request", "per idle worker and s", "per busy worker and s"), rows)


def idle_queues(results: Results) -> list[str]:
    """Idle workers that are spread over parents, or serve many sub-queues each."""
    rows = [
        _fleet(figures, figures["workers"], f"{figures['workers']:,} over {figures['parents']} parent queues")
        for figures in results["idle_parents"]
    ]
    rows += [
        _fleet(figures, figures["workers"], f"{figures['workers']:,}, each on {figures['sub_queues']} sub-queues")
        for figures in results["idle_sub_queues"]
    ]
    return table(_FLEET_HEAD, rows)


def busy(results: Results) -> list[str]:
    """Workers with long tasks."""
    rows = [
        (
            f"{figures['workers']:,} workers, {figures['tasks_each']} tasks each of {figures['payload']:,} bytes",
            figures["cpu_percent"],
            round(figures["commands_per_s"]),
            round(figures["bytes_in_per_s"] / 1024),
            round(figures["cpu_us_per_s_per_worker"], 1),
            round(figures["cpu_percent"] * FLEET / figures["workers"], 1),
        )
        for figures in results["busy"]
    ]
    head = (
        "running all the while",
        "CPU, % of a core",
        "commands/s",
        "KiB in/s",
        "CPU per worker and s, µs",
        f"CPU with {FLEET:,} workers, % (extrapolated)",
    )
    return table(head, rows)


def stream(results: Results) -> list[str]:
    """Short tasks shared by many workers."""
    return _streams(results["stream"], "waited, ms p50 / p99")


def scheduled(results: Results) -> list[str]:
    """The same, scheduled some seconds ahead."""
    return _streams(results["scheduled"], "started late, ms p50 / p99")


def _streams(found: list[dict[str, Any]], waited: str) -> list[str]:
    rows = [
        (
            f"{figures['workers']:,} workers, {figures['rate']:g} tasks/s",
            figures["tasks_per_s"],
            figures["commands_per_task"],
            figures["cpu_us_per_task"],
            f"{figures['wait_ms']['p50']:.1f} / {figures['wait_ms']['p99']:.1f}",
            "{least} / {median:g} / {most}".format(**figures["tasks_per_worker"]),
        )
        for figures in found
    ]
    head = (
        "",
        "done per s",
        "commands per task",
        "CPU per task, µs",
        waited,
        "tasks per worker: least / median / most",
    )
    return table(head, rows)


def restart(results: Results) -> list[str]:
    """Redis goes and comes back."""
    figures = results["restart"]
    rows = [
        ("workers", figures["workers"]),
        ("Redis was away", f"{figures['away_seconds']} s"),
        ("first task settled after it was back", f"{figures['first_task_settled_after']} s"),
        ("half of the workers wait for tasks again after", f"{figures['half_back_after']} s"),
        ("all of them after", f"{figures['all_back_after']} s"),
        ("most connections in 100 ms, per s", figures["peak_connections_per_s"]),
        ("connections made / rejected", f"{figures['connections_made']:,} / {figures['connections_rejected']}"),
        ("CPU of Redis in the first 15 s", f"{figures['cpu_percent']} % of a core"),
        ("tasks left behind in the end", figures["left_behind"]),
    ]
    return table(("Redis restarts under its fleet", ""), rows)


def killed(results: Results) -> list[str]:
    """Workers are killed at once."""
    figures = results["killed"]
    again = figures["run_again_after"]
    rows = [
        ("workers, of which killed at once", f"{figures['workers']:,}, {figures['killed']}"),
        ("tasks that those were running", figures["tasks_held"]),
        ("of these run again elsewhere", figures["tasks_run_again"]),
        ("after (first / median / last)", f"{figures['first_after']:.1f} / {again['p50']:.1f} / {again['most']:.1f} s"),
    ]
    return table(("many workers are killed", ""), rows)


def sizing(results: Results) -> list[str]:
    """Rules of thumb, from the largest measured fleets."""
    still, works = results["idle"][-1], results["busy"][0]
    rows = [
        (
            f"{workers:,}" if workers <= still["workers"] else f"{workers:,} (extrapolated)",
            round(still["connections_total"] / still["workers"] * workers),
            round(still["memory_per_worker"] * workers / _MIB, 1),
            round(still["cpu_us_per_s_per_worker"] * workers / 1e4, 1),
            round(works["cpu_us_per_s_per_worker"] * workers / 1e4, 1),
        )
        for workers in (100, 1000, FLEET)
    ]
    head = (
        "workers",
        "connections",
        "memory of Redis, MiB",
        "CPU when idle, % of a core",
        "CPU when busy, % of a core",
    )
    return table(head, rows)


BLOCKS: dict[str, Callable[[Results], list[str]]] = {
    function.__name__: function
    for function in (
        machine,
        requests,
        tasks,
        memory,
        long_tasks,
        connections,
        kinds,
        idle,
        shares,
        idle_queues,
        busy,
        stream,
        scheduled,
        restart,
        killed,
        sizing,
    )
}
