"""Every metric: its name, type, labels and meaning. docs/metrics.md is made from this.

Labels take few values: `parent` and `queue` are what the worker serves, `state`, `outcome` and the like are written
in the code. Nothing is labelled with what tasks bring: no ids, no types.
"""

from __future__ import annotations

from runqy_worker.telemetry.exposition import COUNTER, GAUGE, HISTOGRAM, Metric

PREFIX = "runqy_worker_"
SECTIONS: dict[str, list[Metric]] = {}


def _metric(section: str, kind: str, name: str, meaning: str, *labels: str, prefix: str = PREFIX) -> Metric:
    metric = Metric(prefix + name, kind, meaning, labels)
    SECTIONS.setdefault(section, []).append(metric)
    return metric


_W = "Worker"
INFO = _metric(_W, GAUGE, "info", "Always 1; says what runs here.", "version", "python")
READY = _metric(_W, GAUGE, "ready", "Whether it can run tasks, as /readyz says.")
STALLED = _metric(_W, GAUGE, "stalled", "Whether something makes no progress although it should, as /livez says.")
PARENT_READY = _metric(_W, GAUGE, "parent_ready", "Whether this parent queue's tasks can run now.", "parent")
ENGINE_STATE = _metric(
    *(_W, GAUGE, "engine_state", "1 for the state that it is in: starting, running, quiet, draining or stopped."),
    *("parent", "state"),
)
SLOTS = _metric(_W, GAUGE, "slots", "Tasks that may run at once.", "parent")
RUNNING = _metric(_W, GAUGE, "tasks_running", "Tasks that run now.", "parent")
UNSETTLED = _metric(_W, GAUGE, "outcomes_unsettled", "Outcomes that the backend has not taken yet.", "parent")

_T = "Tasks"
STARTED = _metric(_T, COUNTER, "tasks_started_total", "Attempts handed to a process.", "queue")
TASKS = _metric(
    *(_T, COUNTER, "tasks_total"),
    "Outcomes: completed, retried (failed, will run again), archived (failed for good), revoked, released (given back "
    "uncharged), lost (the lease was another worker's), repeated (sent again, and written before or the lease lost).",
    *("queue", "outcome"),
)
WAIT = _metric(
    *(_T, HISTOGRAM, "task_wait_seconds"),
    "How long tasks were pending before they were claimed. Not counted where the enqueuing program left no time.",
    "queue",
)
DURATION = _metric(
    *(_T, HISTOGRAM, "task_duration_seconds"),
    "From handing a task to its process until its outcome was settled, whatever it was; given back ones left out.",
    "queue",
)
DEATHS = _metric(_T, COUNTER, "task_deaths_total", "Deaths of processes that were charged to a task.", "queue")
LEASES_LOST = _metric(
    *(_T, COUNTER, "leases_lost_total", "Tasks in hand that turned out to be another worker's by now.", "queue"),
)
LEASES_RECOVERED = _metric(
    *(_T, COUNTER, "leases_recovered_total", "Tasks that this worker took back from others that fell silent.", "queue"),
)

_C = "Task code"
EXECUTOR_STATE = _metric(
    *(_C, GAUGE, "executor_state"),
    "1 for the state that the task code's process is in: stopped, starting, ready, recovering or degraded.",
    *("parent", "state"),
)
CHILDREN = _metric(_C, GAUGE, "child_processes", "Processes of task code that live.", "parent")
CHILD_MEMORY = _metric(_C, GAUGE, "child_resident_memory_bytes", "What they hold in memory together.", "parent")
CRASHES = _metric(
    *(_C, COUNTER, "child_crashes_total", "Ends of processes that nobody asked for, and starts that failed.", "parent"),
)
CONSECUTIVE = _metric(
    *(_C, GAUGE, "child_consecutive_restarts"),
    "Restarts in the present series; recovery.max_restarts of them lead to degraded.",
    "parent",
)
RESTARTS = _metric(
    *(_C, COUNTER, "child_restarts_total", "Restarts that counted towards recovery.max_restarts."),
)
RECYCLED = _metric(_C, COUNTER, "child_replacements_total", "Processes replaced for their age, size or tasks.")
LINES = _metric(_C, COUNTER, "output_lines_total", "Lines that task code printed and that were logged.", "stream")
LINES_LEFT_OUT = _metric(_C, COUNTER, "output_lines_left_out_total", "Further lines, too many to log.")

_D = "Deploys"
DEPLOYS = _metric(
    *(_D, COUNTER, "deploys_total"),
    "Deploys by what led to them (start: once per parent queue; reload) and outcome (succeeded or failed).",
    *("trigger", "outcome"),
)
DEPLOY_OK = _metric(_D, GAUGE, "last_deploy_successful", "Whether the last deploy succeeded.")
DEPLOYED_AT = _metric(
    *(_D, GAUGE, "last_deploy_success_timestamp_seconds", "When a deploy last succeeded, in Unix seconds."),
)
FALLBACKS = _metric(
    *(_D, COUNTER, "release_fallbacks_total", "Starts with an older release, because the newest could not be had."),
)
RELEASE = _metric(_D, GAUGE, "release_info", "Always 1; the deployed release that serves.", "parent", "release")
DISK_FREE = _metric(
    *(_D, GAUGE, "deployment_filesystem_free_bytes", "Free for this user where deployment.dir is."),
)
DISK_SIZE = _metric(_D, GAUGE, "deployment_filesystem_size_bytes", "Size of that file system.")

_R = "Redis"
BACKEND_UP = _metric(_R, GAUGE, "backend_up", "Whether the backend answers.", "parent")
OUTAGES = _metric(
    *(_R, COUNTER, "backend_outages_total", "Outages by reason: unreachable, or refused (our credentials)."),
    "reason",
)
ROUND_TRIP = _metric(
    *(_R, HISTOGRAM, "redis_round_trip_seconds"),
    "From sending commands until all their answers are here, by what the connection is for: claim, settle, renew, "
    "upkeep. Waits for tasks are not counted.",
    *("parent", "connection"),
)
REDIS_ERRORS = _metric(
    *(_R, COUNTER, "redis_errors_total"),
    "What failed, by kind: connection (none to be had, lost, or no answer in time), refused (an error reply).",
    *("parent", "connection", "kind"),
)
REDIS_CONNECTS = _metric(
    *(_R, COUNTER, "redis_connects_total", "Connections that were made.", "parent", "connection"),
)
BEAT_AT = _metric(
    *(_R, GAUGE, "heartbeat_last_success_timestamp_seconds"),
    "When a heartbeat last arrived, in Unix seconds; the oldest, where there are several Redis.",
)
BEAT_OUTAGES = _metric(_R, COUNTER, "heartbeat_outages_total", "Times that heartbeats began to fail.")

_G = "GPUs"
GPU_USE = _metric(_G, GAUGE, "gpu_utilization_ratio", "How busy it is, from 0 to 1.", "gpu", "name")
GPU_USED = _metric(_G, GAUGE, "gpu_memory_used_bytes", "Memory in use on it, by whomever.", "gpu", "name")
GPU_SIZE = _metric(_G, GAUGE, "gpu_memory_size_bytes", "Memory that it has.", "gpu", "name")
GPU_HEAT = _metric(_G, GAUGE, "gpu_temperature_celsius", "Its temperature.", "gpu", "name")

_P = "Daemon"
CPU = _metric(_P, COUNTER, "cpu_seconds_total", "Processor time of the daemon itself.", prefix="process_")
RSS = _metric(_P, GAUGE, "resident_memory_bytes", "What the daemon itself holds in memory.", prefix="process_")
VIRTUAL = _metric(_P, GAUGE, "virtual_memory_bytes", "Its address space.", prefix="process_")
OPEN_FDS = _metric(_P, GAUGE, "open_fds", "Its open file descriptors.", prefix="process_")
MAX_FDS = _metric(_P, GAUGE, "max_fds", "How many it may have.", prefix="process_")
START_TIME = _metric(_P, GAUGE, "start_time_seconds", "When it was started, in Unix seconds.", prefix="process_")

METRICS = tuple(metric for section in SECTIONS.values() for metric in section)
