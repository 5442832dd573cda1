"""Words for how a process ended."""

from __future__ import annotations

import signal


def describe_exit(returncode: int) -> str:
    """`exit code 3`, `signal SIGSEGV`, `signal SIGKILL (maybe out of memory)`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = str(-returncode)
    hint = " (maybe out of memory)" if -returncode == signal.SIGKILL else ""
    return f"signal {name}{hint}"


def describe_death(returncode: int, broke: str) -> str:
    """What the process did, as the beginning of a sentence; `broke` says why it had to be ended, if it had."""
    if broke:
        return f"process {broke}"
    if returncode == 0:
        return "process exited without being asked (exit code 0)"
    return f"process died ({describe_exit(returncode)})"


def overlong_line(limit: int) -> str:
    """The failure of a task whose process printed a line longer than `limit` bytes."""
    return f"permanent failure: the task code printed a line longer than {limit} bytes (process.max_line)"
