from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.deployment.commands import Activity, Command, CommandResult, LineSplitter, run
from runqy_worker.deployment.redaction import Redactor
from runqy_worker.domain.errors import DeploymentError


def python(code: str, *, timeout: float = 30, capture: bool = False) -> Command:
    argv = [sys.executable, "-c", code]
    return Command(argv, "test", Path("/"), {"PATH": os.environ["PATH"]}, timeout, capture=capture)


async def lines_of(code: str, redact: Redactor | None = None) -> tuple[CommandResult, list[tuple[str, bool]]]:
    heard: list[tuple[str, bool]] = []
    result = await run(python(code), on_line=lambda text, transient: heard.append((text, transient)), redact=redact)
    return result, heard


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_lines_come_as_they_are_printed_and_progress_is_told_apart() -> None:
    code = r"import sys; sys.stderr.write('10%\r50%\r100%, done.\nlast without end'); sys.exit(3)"
    result, heard = await lines_of(code)
    assert result.returncode == 3
    assert heard == [("10%", True), ("50%", True), ("100%, done.", False), ("last without end", False)]
    assert result.tail == ("100%, done.", "last without end")


async def test_stdout_is_captured_whole_when_asked_for() -> None:
    result = await run(python("print('x' * 200000)", capture=True))
    assert result.stdout == "x" * 200000 + "\n"


async def test_secrets_are_masked_in_lines_and_tail() -> None:
    redact = Redactor("pass word/1")
    result, heard = await lines_of("print('key=pass word/1 url=pass%20word%2F1')", redact)
    assert heard == [("key=*** url=***", False)]
    assert "pass" not in "".join(result.tail)


async def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('started', flush=True)\ntime.sleep(600)"
    )
    with pytest.raises(DeploymentError, match=r"took longer than 1\.5 s") as caught:
        await run(python(code, timeout=1.5))
    assert "started" in str(caught.value)
    await until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


async def test_a_cancelled_command_leaves_no_process(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    task = asyncio.create_task(run(python(code)))
    await until(lambda: pid.exists() and pid.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(int(pid.read_text()))


async def test_a_background_process_that_keeps_the_pipes_open_is_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))"
    )
    result = await run(python(code))
    assert result.returncode == 0
    await until(lambda: not is_alive(int(pid.read_text())))


async def test_a_program_that_does_not_exist_is_named() -> None:
    command = Command(["no-such-program"], "clone", Path("/"), {"PATH": "/usr/bin"}, 1)
    with pytest.raises(DeploymentError, match="`no-such-program` can't be started") as caught:
        await run(command)
    assert caught.value.step == "clone"


async def test_output_counts_as_activity() -> None:
    activity = Activity()
    activity.last = 0
    await run(python("print('x')"), activity=activity)
    assert activity.last > 0


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_arrive(chunks: list[bytes]) -> None:
    def lines(parts: list[bytes]) -> list[str]:
        splitter = LineSplitter()
        found = [text for part in parts for text, _ in splitter.feed(part)]
        return [*found, splitter.rest()]

    whole = b"".join(chunks)
    assert lines(chunks) == lines([whole])
