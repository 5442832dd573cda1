"""Real signals to a real process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.fakes import eventually

from runqy_worker.service.signals import SignalRouter

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import asyncio, sys
from runqy_worker.service.signals import SignalRouter

def say(word):
    print(word, flush=True)

async def main():
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    def hurry():
        say("hurry")
        done.set()
    words = {f"on_{word}": (lambda word=word: say(word)) for word in ("stop", "quiet", "resume", "reload")}
    with SignalRouter(loop, on_hurry=hurry, **words):
        say("ready")
        await done.wait()
    say("left")
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def next_word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_each_signal_calls_its_function(process: subprocess.Popen[str], second: signal.Signals) -> None:
    assert next_word(process) == "ready"
    said = []
    for signum in (signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT, signal.SIGHUP, signal.SIGTERM, second):
        process.send_signal(signum)
        said.append(next_word(process))
    assert said == ["reload", "quiet", "resume", "reload", "stop", "hurry"]
    assert next_word(process) == "left"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM, "the default handler is back"


def make_router(calls: list[str]) -> SignalRouter:
    return SignalRouter(
        asyncio.get_running_loop(),
        on_stop=lambda: calls.append("stop"),
        on_hurry=lambda: calls.append("hurry"),
        on_quiet=lambda: calls.append("quiet"),
        on_resume=lambda: calls.append("resume"),
        on_reload=lambda: calls.append("reload"),
    )


async def test_handlers_from_before_are_put_back() -> None:
    def mine(*_args: object) -> None:
        pytest.fail("not to be called")

    before = signal.signal(signal.SIGHUP, mine)
    try:
        router = make_router([])
        with router:
            assert signal.getsignal(signal.SIGHUP) is not mine
        assert signal.getsignal(signal.SIGHUP) is mine
        assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_it_is_the_loop_that_calls() -> None:
    calls: list[str] = []
    router = make_router(calls)
    with router:
        signal.raise_signal(signal.SIGHUP)
        assert calls == [], "nothing runs inside the signal handler"
        await eventually(lambda: calls)
    assert calls == ["reload"]
