"""What a run that changes nothing costs each host, however many there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleet.playing import Operator

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest
    from fleet.conftest import Workers
    from fleet.playing import Played

MOST_TASKS = 40
HOSTS = 8


def test_a_run_without_changes_costs_few_tasks_per_host_and_as_many_with_one_as_with_eight(
    workers: Workers, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machines = workers(HOSTS)
    alone, one_took = _timed(Operator(tmp_path, dict(list(machines.items())[:1]), settings))
    together, all_took = _timed(Operator(tmp_path, machines, settings))
    counts = {name: len(about["executed"]) for name, about in together.run.hosts.items()}
    with capsys.disabled():
        print(f"\n{counts['worker-1']} tasks per host; one host took {one_took:.0f} s, {HOSTS} took {all_took:.0f} s")
    assert counts == dict.fromkeys(machines, len(alone.run.hosts["worker-1"]["executed"]))
    assert max(counts.values()) <= MOST_TASKS, "\n".join(together.run.hosts["worker-1"]["executed"])
    assert [together.changed(name) for name in machines] == [[]] * HOSTS
    assert [where for where in together.run.elsewhere if "/tasks/preflight.yml" not in where] == []


def _timed(operator: Operator) -> tuple[Played, float]:
    began = time.monotonic()
    return operator.play("site"), time.monotonic() - began
