"""What journalctl shows of a worker and of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host.codes import TALKS

from runqy_worker.telemetry.message_ids import MESSAGE_IDS

if TYPE_CHECKING:
    from host.site import HostSite

WARNING, ERROR = 4, 3


def test_one_task_s_whole_story_is_found_by_its_id(site: HostSite) -> None:
    instance = site.instance({"main.py": TALKS}, log={"level": "debug"})
    instance.start()
    first, second = instance.enqueue("a", "b")
    assert [instance.result(task) for task in (first, second)] == ["a", "b"]
    site.machine.until(
        lambda: site.machine.journal(f"RUNQY_TASK_ID={second}", "RUNQY_ACTION=task_completed"), "the end"
    )
    story = site.machine.journal(f"RUNQY_TASK_ID={first}")
    assert {entry["SYSLOG_IDENTIFIER"] for entry in story} == {"runqy-worker", "runqy-task"}
    assert {entry["RUNQY_QUEUE"] for entry in story} == {instance.queue}
    prints = [
        (entry["MESSAGE"], entry["RUNQY_STREAM"]) for entry in story if entry["SYSLOG_IDENTIFIER"] == "runqy-task"
    ]
    assert sorted(prints) == [("hello from the task", "stdout"), ("trouble in the task", "stderr")]


def test_task_output_alone_is_found_by_its_identifier(site: HostSite) -> None:
    instance = site.instance({"main.py": TALKS})
    instance.start()
    assert instance.answer("a") == "a"
    prints = instance.entries("-t", "runqy-task")
    assert {entry["MESSAGE"] for entry in prints} == {"hello from the task", "trouble in the task"}
    assert {entry["RUNQY_ACTION"] for entry in prints} == {"task_output"}


def test_events_are_found_by_their_message_id_and_have_priorities(site: HostSite) -> None:
    instance = site.instance({"main.py": TALKS})
    instance.start()
    (task,) = instance.enqueue("fail", max_retry=0)
    assert site.finished(task, instance.queue).state == "archived"
    instance.stop()
    for action in ("worker_started", "ready", "worker_stopped"):
        assert [entry["RUNQY_ACTION"] for entry in instance.entries(f"MESSAGE_ID={MESSAGE_IDS[action]}")] == [action]
    (archived,) = instance.entries(f"MESSAGE_ID={MESSAGE_IDS['task_archived']}")
    assert archived["RUNQY_TASK_ID"] == task
    assert int(archived["PRIORITY"]) <= WARNING
    assert int(instance.entries("RUNQY_ACTION=ready")[0]["PRIORITY"]) > WARNING
