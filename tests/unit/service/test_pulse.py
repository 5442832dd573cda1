"""What the service manager is told, and when."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest
from support.fakes import Recorder, eventually

from runqy_worker.domain.events import Notice
from runqy_worker.service import pulse as pulses
from runqy_worker.service.notify import Notifier, is_wanted
from runqy_worker.service.pulse import EXTENSION, Phase, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Manager:
    """Hears what a service manager hears."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


class Worker:
    """A condition that the test sets."""

    def __init__(self) -> None:
        self.at = Phase.STARTING
        self.ready = False
        self.line = "inference: starting"
        self.stalled = ""
        self.quiet_for = float("inf")

    def phase(self) -> Phase:
        return self.at

    def is_ready(self) -> bool:
        return self.ready

    def status(self) -> str:
        return self.line

    def stall(self) -> str:
        return self.stalled

    def work_is_quiet_for(self) -> float:
        return self.quiet_for

    def serve(self, line: str = "inference: running 0/1") -> None:
        self.at, self.ready, self.line = Phase.SERVING, True, line


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(made.path))
    yield made
    made.socket.close()


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make_pulse(manager: Manager, worker: Worker, recorder: Recorder) -> Iterator[Callable[..., Pulse]]:
    notifiers = []

    def make(*, watchdog: float = 30, longest_deploy: float = 3600) -> Pulse:
        notifier = Notifier(recorder, {"WATCHDOG_USEC": str(round(watchdog * 1e6))} if watchdog else {})
        notifiers.append(notifier)
        return Pulse(
            notifier, worker, longest_deploy=lambda: longest_deploy, longest_stop=lambda: 60, listener=recorder
        )

    yield make
    for notifier in notifiers:
        notifier.close()


async def test_ready_is_told_once_when_the_worker_can_run_tasks(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    pulse = make_pulse(watchdog=0)
    pulse.look()
    assert manager.heard() == ["STATUS=inference: starting"]
    worker.serve()
    pulse.look()
    pulse.look()
    assert manager.heard() == ["READY=1\nSTATUS=inference: running 0/1"]


async def test_a_status_is_told_when_it_changes_in_the_managers_encoding(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    pulse = make_pulse(watchdog=0)
    pulse.look()
    manager.heard()
    worker.line = "größe: running 1/1\nREADY=0"
    pulse.look()
    pulse.look()
    assert manager.heard() == ["STATUS=größe: running 1/1 READY=0"]


async def test_signs_of_life_stop_while_something_stands_still(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    pulse = make_pulse()
    pulse.look()
    assert "WATCHDOG=1" in manager.heard()
    worker.stalled = "the claim loop of inference has stood still for 70 s"
    pulse.look()
    pulse.look()
    assert manager.heard() == []
    assert recorder.actions() == ["watchdog_withheld"]
    worker.stalled = ""
    pulse.look()
    assert manager.heard() == ["WATCHDOG=1"]


async def test_no_sign_of_life_goes_to_a_manager_that_wants_none(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    make_pulse(watchdog=0).look()
    assert "WATCHDOG=1" not in manager.heard()


@pytest.mark.parametrize(("who", "expected"), [("another", 0), ("we", 5)])
def test_the_watchdog_may_be_meant_for_another_process(
    manager: Manager, recorder: Recorder, who: str, expected: float
) -> None:
    pid = os.getpid() if who == "we" else os.getpid() + 1
    notifier = Notifier(recorder, {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(pid)})
    assert notifier.watchdog == expected
    notifier.close()


async def test_time_is_asked_for_while_a_deploy_makes_progress(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    more = f"EXTEND_TIMEOUT_USEC={round(EXTENSION * 1e6)}"
    pulse = make_pulse(watchdog=0)
    worker.quiet_for = 2
    pulse.look()
    assert more in manager.heard()
    worker.quiet_for = pulses.QUIET_WORK + 1
    pulse.look()
    assert manager.heard() == []
    worker.serve()
    worker.quiet_for = 0
    pulse.look()
    assert more not in manager.heard()


async def test_a_deploy_that_takes_too_long_gets_no_more_time(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    pulse = make_pulse(watchdog=0, longest_deploy=-1)
    worker.quiet_for = 0
    pulse.look()
    assert manager.heard() == ["STATUS=inference: starting"]


async def test_a_stop_is_told_and_gets_its_time(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    pulse = make_pulse(watchdog=0)
    pulse.look()
    manager.heard()
    worker.at, worker.line = Phase.STOPPING, "inference: draining 1/1"
    pulse.look()
    heard = manager.heard()
    assert heard[0] == "STOPPING=1\nSTATUS=inference: draining 1/1"
    assert heard[-1].startswith("EXTEND_TIMEOUT_USEC=")
    pulse.look()
    assert [message.partition("=")[0] for message in manager.heard()] == ["EXTEND_TIMEOUT_USEC"]


async def test_a_reload_has_a_beginning_with_its_time_and_an_end(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    pulse = make_pulse(watchdog=0)
    pulse.look()
    manager.heard()
    pulse.notice(Notice("reload_started", "deploying"))
    [begun] = manager.heard()
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    worker.quiet_for = 1
    pulse.look()
    assert [message.partition("=")[0] for message in manager.heard()] == ["EXTEND_TIMEOUT_USEC"]
    pulse.notice(Notice("reload_failed", "inference: reload failed: no such branch"))
    pulse.notice(Notice("reload_failed", "other: reload failed"))
    failed = "STATUS=inference: running 0/1; inference: reload failed: no such branch"
    assert manager.heard() == [f"READY=1\n{failed}"]


async def test_the_reason_of_a_failed_reload_stays_until_the_next_one(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    pulse = make_pulse(watchdog=0)
    pulse.look()
    pulse.notice(Notice("reload_started", "deploying"))
    pulse.notice(Notice("reload_failed", "inference: reload failed: no such branch"))
    pulse.look()
    worker.line = "inference: running 1/1"
    manager.heard()
    pulse.look()
    assert manager.heard() == ["STATUS=inference: running 1/1; inference: reload failed: no such branch"]
    pulse.notice(Notice("reload_started", "deploying"))
    pulse.notice(Notice("reload_finished", "the newest releases are serving"))
    assert manager.heard()[-1] == "READY=1\nSTATUS=inference: running 1/1"


async def test_a_reload_before_it_is_ready_does_not_make_it_ready(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    pulse = make_pulse(watchdog=0)
    pulse.look()
    manager.heard()
    pulse.notice(Notice("reload_started", "deploying"))
    pulse.notice(Notice("reload_failed", "inference: reload failed: no such branch"))
    assert manager.heard() == []


async def test_a_reason_is_cut_to_what_the_manager_takes(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve("ü" * 5000)
    make_pulse(watchdog=0).look()
    [message] = manager.heard()
    assert message.startswith("READY=1\nSTATUS=üüü")
    assert message.endswith("ü...")
    assert len(message.encode()) <= 4096


async def test_news_are_told_at_once(
    manager: Manager,
    worker: Worker,
    recorder: Recorder,
    make_pulse: Callable[..., Pulse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulses, "EVERY", 3600)
    pulse = make_pulse(watchdog=0)
    running = asyncio.ensure_future(pulse.run())
    await eventually(manager.heard)
    worker.serve()
    pulse.notice(Notice("ready", "inference: ready"))
    await eventually(lambda: any(message.startswith("READY=1") for message in manager.heard()))
    running.cancel()
    await asyncio.wait([running])


async def test_a_manager_that_went_away_is_told_of_once(
    manager: Manager, worker: Worker, recorder: Recorder, make_pulse: Callable[..., Pulse]
) -> None:
    worker.serve()
    pulse = make_pulse()
    manager.socket.close()
    pulse.look()
    pulse.look()
    assert recorder.actions() == ["notify_failed"]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sdnotify leaves a socket that can't connect lying
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # likewise
def test_a_manager_that_is_not_there_is_told_of_and_ends_nothing(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notifier = Notifier(recorder)
    notifier.alive()
    notifier.close()
    assert recorder.actions() == ["notify_failed"]


def test_nobody_is_told_where_there_is_no_manager() -> None:
    assert not is_wanted({})
    assert is_wanted({"NOTIFY_SOCKET": "@/run/notify"})
