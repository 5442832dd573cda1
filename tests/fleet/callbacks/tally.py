"""An Ansible callback that counts: a line of JSON for each playbook, in the file that FLEET_TALLY names."""

from __future__ import annotations

import collections
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.context import CLIARGS
from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.playbook import Playbook
    from ansible.playbook.task import Task

DOCUMENTATION = """
name: tally
type: notification
short_description: counts tasks per host
version_added: 0.1.0
description:
  - Notes which tasks each host executed, which changed something, which were delegated or run once.
options: {}
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """What Ansible looks for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "tally"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._playbook = ""
        self._hosts: dict[str, dict[str, list[str]]] = collections.defaultdict(
            lambda: {"executed": [], "skipped": [], "changed": [], "failed": []}
        )
        self._elsewhere: set[str] = set()

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """Remember its name."""
        self._playbook = Path(playbook._file_name).name

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        """Note tasks that run somewhere else, or once for all."""
        if task.delegate_to or task.run_once:
            self._elsewhere.add(task.get_path())

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """A task was executed."""
        self._note(result, "executed")
        if result.is_changed():
            self._note(result, "changed")

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        """A task failed."""
        self._note(result, "executed")
        self._note(result, "failed")

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """A task's condition was not met."""
        self._note(result, "skipped")

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Write it all down."""
        where = os.environ.get("FLEET_TALLY")
        if not where:
            return
        line = {"playbook": self._playbook, "check": bool(CLIARGS.get("check")), "hosts": self._hosts}
        with Path(where).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "elsewhere": sorted(self._elsewhere)}) + "\n")

    def _note(self, result: CallbackTaskResult, kind: str) -> None:
        task: Any = result.task if hasattr(result, "task") else result._task
        host: Any = result.host if hasattr(result, "host") else result._host
        self._hosts[host.get_name()][kind].append(f"{task.get_name()} ({task.get_path()})")
