"""Checks of what a test machine does not have: units, GPUs, small disks."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runqy_worker.doctor.account import READ, WRITE, Account
from runqy_worker.doctor.checks import disk, gpu, leftovers, limits, redis, restart, unit
from runqy_worker.doctor.examining import Check, examine
from runqy_worker.doctor.finding import Finding, Level, ok

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.doctor.subject import Subject

RUNNING = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "StatusText": "running 1/4"}


def texts(findings: list[Finding], level: Level = Level.PROBLEM) -> list[str]:
    return [f"{each.found} -> {each.advice}" for each in findings if each.level is level]


async def test_a_check_that_breaks_or_hangs_is_told_and_the_others_are_heard(
    subject: Callable[..., Subject],
) -> None:
    async def breaks(_subject: Subject) -> list[Finding]:
        raise ZeroDivisionError("oops")

    async def hangs(_subject: Subject) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def works(_subject: Subject) -> list[Finding]:
        return [ok("fine")]

    checks = [Check("breaks", breaks), Check("hangs", hangs), Check("works", works)]
    results = await examine(subject(), checks, limit=0.05)
    assert [(each.check, each.findings[0].level) for each in results] == [
        ("breaks", Level.WARNING),
        ("hangs", Level.WARNING),
        ("works", Level.OK),
    ]
    assert "ZeroDivisionError: oops" in results[0].findings[0].found


@pytest.mark.parametrize(
    ("changes", "level", "expected"),
    [
        ({}, Level.OK, "runqy-worker@inference.service is active: running 1/4"),
        ({"LoadState": "not-found"}, Level.PROBLEM, "can't be loaded: not-found"),
        (
            {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"},
            Level.PROBLEM,
            "failed: exit code 78 (CONFIG) -> journalctl -u runqy-worker@inference.service",
        ),
        ({"ActiveState": "failed", "Result": "watchdog"}, Level.PROBLEM, "failed: watchdog"),
        ({"ActiveState": "activating", "StatusText": "starting"}, Level.WARNING, "is starting: starting"),
        ({"ActiveState": "inactive"}, Level.NOTE, "does not run -> systemctl start"),
        ({"UnitFileState": "disabled"}, Level.NOTE, "is not enabled"),
        ({"NeedDaemonReload": "yes"}, Level.WARNING, "-> systemctl daemon-reload"),
        ({"NRestarts": "3"}, Level.WARNING, "started again 3 times"),
        ({"DropInPaths": "/etc/a.conf /etc/b.conf"}, Level.NOTE, "changed by /etc/a.conf, /etc/b.conf"),
    ],
)
async def test_what_systemd_says_of_the_unit(
    subject: Callable[..., Subject],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    level: Level,
    expected: str,
) -> None:
    monkeypatch.setattr(unit, "_exposure", lambda _name: None)
    found = await unit.look(subject(unit=RUNNING | changes))
    assert any(expected in text for text in texts(found, level)), found


async def test_an_exposed_unit_is_a_warning(subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "_exposure", lambda _name: 9.2)
    found = await unit.look(subject(unit=RUNNING))
    assert "its exposure is 9.2 of 10" in texts(found, Level.WARNING)[0]


NVIDIA_SMI = """\
#!/bin/sh
echo "GPU-aaaa-1111, NVIDIA H100, 550.54"
echo "GPU-bbbb-2222, NVIDIA H100, 550.54"
"""


class Cards:
    """Device nodes and nvidia-smi, both made up."""

    def __init__(self, directory: Path) -> None:
        self.devices = directory / "dev"
        self.tools = directory / "tools"
        self.devices.mkdir()
        self.tools.mkdir()
        for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
            (self.devices / name).touch()
        self.tool(NVIDIA_SMI)

    def tool(self, text: str) -> None:
        (self.tools / "nvidia-smi").write_text(text)
        (self.tools / "nvidia-smi").chmod(0o755)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    cards = Cards(tmp_path)
    monkeypatch.setattr(gpu, "DEVICES", cards.devices)
    return cards


def path(cards: Cards) -> str:
    return f"{cards.tools}:/usr/bin:/bin"


async def test_gpus_that_are_there_and_named_rightly(subject: Callable[..., Subject], cards: Cards) -> None:
    found = await gpu.look(subject(PATH=path(cards), CUDA_VISIBLE_DEVICES="GPU-aaaa,GPU-bbbb-2222"))
    assert texts(found) == []


@pytest.mark.parametrize("hidden", ["", "-1", "none"])
async def test_a_worker_that_hides_all_gpus_has_nothing_to_hear(
    subject: Callable[..., Subject], cards: Cards, hidden: str
) -> None:
    assert await gpu.look(subject(PATH=path(cards), CUDA_VISIBLE_DEVICES=hidden)) == []


async def test_a_gpu_that_is_not_there_is_named(subject: Callable[..., Subject], cards: Cards) -> None:
    found = await gpu.look(subject(PATH=path(cards), CUDA_VISIBLE_DEVICES="GPU-cccc"))
    assert "names GPU-cccc, which is not there" in texts(found)[0]


async def test_missing_nodes_are_named(subject: Callable[..., Subject], cards: Cards) -> None:
    (cards.devices / "nvidia-uvm").unlink()
    found = await gpu.look(subject(PATH=path(cards)))
    assert "nvidia-uvm -> nvidia-modprobe -c 0 -u" in texts(found)[0]


async def test_a_driver_that_does_not_fit_its_tools(subject: Callable[..., Subject], cards: Cards) -> None:
    cards.tool("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    found = await gpu.look(subject(PATH=path(cards)))
    assert "Driver/library version mismatch -> after a driver upgrade restart the host" in texts(found)[0]


async def test_gpus_that_the_unit_may_not_use(subject: Callable[..., Subject], cards: Cards) -> None:
    found = await gpu.look(subject(unit=RUNNING, PATH=path(cards), CUDA_VISIBLE_DEVICES="GPU-aaaa"))
    assert "may not use GPUs" in texts(found)[0]
    assert "--device cuda" in texts(found)[0]


def status(free: int, inodes: int = 10**6, flags: int = 0) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 10**9, free // 4096, free // 4096, 10**7, inodes, inodes, flags, 255))


@pytest.mark.parametrize(
    ("said", "level", "expected"),
    [
        (status(10 << 30), Level.OK, "10.0 GiB free"),
        (status(1 << 30), Level.WARNING, "only 1.0 GiB free"),
        (status(1 << 20), Level.PROBLEM, "only 1 MiB free: deploys fail"),
        (status(10 << 30, inodes=100), Level.WARNING, "only 100 inodes left"),
        (status(10 << 30, flags=os.ST_NOEXEC), Level.PROBLEM, "mounted noexec"),
        (status(10 << 30, flags=os.ST_RDONLY), Level.PROBLEM, "mounted read-only"),
    ],
)
async def test_the_disk_is_judged_by_what_it_says(
    subject: Callable[..., Subject],
    monkeypatch: pytest.MonkeyPatch,
    said: os.statvfs_result,
    level: Level,
    expected: str,
) -> None:
    monkeypatch.setattr("runqy_worker.doctor.checks.disk.os.statvfs", lambda _path: said)
    assert expected in texts(await disk.look(subject()), level)[0]


async def test_a_worker_older_than_its_files_is_to_be_restarted(subject: Callable[..., Subject]) -> None:
    running = subject(unit=RUNNING | {"MainPID": str(os.getpid())})
    assert running.places is not None
    running.places.settings.parent.mkdir(parents=True)
    running.places.settings.touch()
    soon = time.time() + 60
    os.utime(running.places.settings, (soon, soon))
    found = texts(await restart.look(running), Level.WARNING)
    assert any(f"{running.places.settings} changed" in text for text in found)
    assert all("systemctl restart runqy-worker@inference" in text for text in found)
    assert await restart.look(subject(unit=RUNNING)) == []


async def test_too_few_files_for_the_slots(subject: Callable[..., Subject]) -> None:
    found = await limits.look(subject(unit={"LimitNOFILESoft": "1024"}, RUNQY_CONCURRENCY="500"))
    assert "may open 1024 files, but needs about" in texts(found)[0]
    assert texts(await limits.look(subject(unit={"LimitNOFILESoft": "524288"}))) == []


async def test_records_of_a_worker_that_is_gone_and_files_of_no_instance(
    subject: Callable[..., Subject], tmp_path: Path
) -> None:
    state = tmp_path / "deployment/.runqy"
    state.mkdir(parents=True)
    (state / "children-4194305-1.jsonl").touch()
    (state / f"children-{os.getpid()}-1.jsonl").touch()
    instances = tmp_path / "etc/runqy-worker/instances"
    instances.mkdir(parents=True)
    (instances / "old.env").touch()
    found = texts(await leftovers.look(subject(unit=RUNNING)), Level.NOTE)
    assert len(found) == 2
    assert "whose worker, 4194305, is gone" in found[0]
    assert "old.env belongs to no instance" in found[1]


def test_relative_paths_start_where_the_unit_does(subject: Callable[..., Subject], tmp_path: Path) -> None:
    assert subject().path("x") == Path.cwd() / "x"
    assert subject(unit=RUNNING).path("x") == tmp_path / "var/lib/runqy-worker/inference/x"
    assert subject(unit=RUNNING | {"WorkingDirectory": "!/srv/w"}).path("x") == Path("/srv/w/x")
    assert subject(unit=RUNNING).path("/x") == Path("/x")


def test_clocks_that_differ_by_more_than_the_answer_took() -> None:
    assert list(redis._clock(1000.0, 999.0, 1001.0)) == []
    (behind,) = redis._clock(990.0, 999.9, 1000.1)
    assert "Redis' clock is 10.0 s behind this host's" in behind.found
    assert list(redis._clock(990.0, 980.0, 1000.0)) == []


def test_an_old_redis_is_a_problem() -> None:
    (old,) = redis._version({"redis_version": "6.0.16"})
    assert "6.0.16, expected 6.2 or newer" in old.found
    assert list(redis._version({"redis_version": "7.0.15"})) == []


def test_what_an_account_may_do(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.touch(mode=0o640)
    mine.chmod(0o640)
    uid, gid = mine.stat().st_uid, mine.stat().st_gid
    member = Account("member", 60001, 60001, (60001, gid), "/")
    stranger = Account("stranger", 60002, 60002, (60002,), "/")
    assert member._allows(mine, READ)
    assert not member._allows(mine, WRITE)
    assert not stranger._allows(mine, READ)
    assert Account("owner", uid, gid, (gid,), "/")._allows(mine, READ | WRITE)
    mine.chmod(0o000)
    assert Account("root", 0, 0, (0,), "/")._allows(mine, READ | WRITE)
