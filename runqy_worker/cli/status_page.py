"""What `runqy-worker status` shows to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runqy_worker.cli.tables import facts, table, when
from runqy_worker.config.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT = 12
_LONGEST_ERROR = 300


def overview(instances: Sequence[dict[str, Any]]) -> str:
    """A line per instance, and below what deserves attention."""
    header = ("INSTANCE", "STATE", "RUNNING", "DONE", "FAILED", "WAIT", "RELEASE", "UP")
    remarks = [f"{one['name']}: {remark}" for one in instances for remark in _remarks(one)]
    lines = [table(header, [_row(one) for one in instances])]
    return "\n".join([*lines, "", *remarks] if remarks else lines)


def page(status: dict[str, Any]) -> str:
    """All about one worker."""
    program, totals, deploy = status["program"], status["totals"], status["deploy"]
    parts = [
        facts(
            [
                ("instance", status["instance"]),
                ("worker", status["worker_id"]),
                ("state", _state(status)),
                ("up", format_duration(int(status["uptime"]))),
                ("program", f"runqy-worker {program['version']} (commit {program['commit'][:_SHORT]})"),
                ("done", f"{totals['completed']:,} completed, {totals['retried']:,} to be retried"),
                ("failed", f"{totals['archived']:,} for good" if totals["archived"] else ""),
                ("wait", _seconds(totals["wait"])),
                ("duration", _seconds(totals["duration"])),
                ("last error", _last_error(totals["last_error"])),
                ("last deploy", _last_deploy(deploy["last"])),
                ("deploying", "now" if deploy["ongoing"] else ""),
                ("stands still", status["stall"]),
                *(("restart needed", reason) for reason in status["restart_needed"]),
                *(("deploy needed", reason) for reason in status["reload_needed"]),
            ]
        ),
        table(
            ("QUEUE", "STATE", "RUNNING", "SUB-QUEUES", "PROCESS", "RESTARTS", "RELEASE", "MADE"),
            [_lane(lane) for lane in status["lanes"]],
        ),
    ]
    crashes = [(lane["parent"], lane["executor"]["last_crash"]) for lane in status["lanes"]]
    parts += [f"{parent}: the last crash: {reason}" for parent, reason in crashes if reason]
    running = [task for lane in status["lanes"] for task in lane["running"]]
    if running:
        rows = [(task["id"], task["queue"], task["type"], float(task["seconds"])) for task in running]
        parts.append(table(("TASK", "QUEUE", "TYPE", "SECONDS"), rows))
    return "\n\n".join(parts)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    status = one["status"]
    if status is None:
        return (one["name"], one["state"].replace("_", " "), "", "", "", "", "", "")
    totals, lanes = status["totals"], status["lanes"]
    running, slots = sum(len(lane["running"]) for lane in lanes), sum(lane["slots"] for lane in lanes)
    releases = ",".join(lane["release"]["id"][:_SHORT] for lane in lanes if lane["release"])
    return (
        *(one["name"], _state(status), f"{running}/{slots}", f"{totals['completed']:,}"),
        *(f"{totals['retried'] + totals['archived']:,}", _seconds(totals["wait"]), releases),
        format_duration(int(status["uptime"])),
    )


def _remarks(one: dict[str, Any]) -> list[str]:
    status = one["status"]
    if status is None:
        return [] if one["state"] == "stopped" else [one["error"]]
    last = status["deploy"]["last"]
    remarks = [f"restart needed: {reason}" for reason in status["restart_needed"]]
    remarks += [f"deploy needed: {reason}" for reason in status["reload_needed"]]
    if last and not last["ok"]:
        remarks.append(_last_deploy(last))
    return remarks


def _state(status: dict[str, Any]) -> str:
    """One or a few words."""
    if status["phase"] != "serving":
        return str(status["phase"])
    if status["quiet"]:
        return "quiet"
    if any(lane["degraded"] for lane in status["lanes"]):
        return "degraded"
    return "cut off" if any(lane["backend_answers"] is False for lane in status["lanes"]) else "running"


def _lane(lane: dict[str, Any]) -> tuple[object, ...]:
    executor, release = lane["executor"], lane["release"]
    queues = ", ".join(f"{name}:{weight}" for name, weight in lane["queues"].items())
    return (
        *(lane["parent"], lane["engine"], f"{len(lane['running'])}/{lane['slots']}", queues, executor["state"]),
        *(executor["restarts"], release["id"] if release else "", when(release["made_at"]) if release else ""),
    )


def _last_error(error: dict[str, Any] | None) -> str:
    return f"{when(error['at'])}, task {error['task_id']}: {error['error'][:_LONGEST_ERROR]}" if error else ""


def _last_deploy(last: dict[str, Any] | None) -> str:
    if not last:
        return ""
    outcome = "" if last["ok"] else " failed"
    return f"{last['kind']}{outcome} at {when(last['at'])}, {_seconds(last['seconds'])}: {last['message']}"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"
