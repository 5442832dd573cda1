"""`runqy-worker enqueue`, `queue` and `task`, as typed, against a real Redis."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.asynq_world import World
from support.redis_server import free_port

from runqy_worker.backends.asynq.registry import server_info
from runqy_worker.cli.main import main
from runqy_worker.domain.registry import WorkerSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.redis_server import RedisServer


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the host's plays in."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("RUNQY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def world(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("RUNQY_REDIS_ADDR", redis_server.addr)
    world = World(redis_server.addr)
    yield world
    world.db.close()
    world.raw.close()


@pytest.fixture
def door(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs the program in this process; gives exit code, stdout, stderr."""

    def call(*argv: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main(argv)
        out, err = capfd.readouterr()
        return code, out, err

    return call


def finish(world: World, state: str, fields: dict[str, Any] | None = None) -> threading.Thread:
    """A worker that ends whatever becomes pending first."""

    def work() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            task_id = world.db.rpop(world.keys.pending)
            if task_id:
                if state == "archived":
                    message = world.message(task_id)
                    message.error_msg = "boom"
                    world.put(task_id, "archived", 1, error_msg="boom")
                world.db.hset(world.keys.task(task_id), mapping={"state": state, **(fields or {})})
                return
            time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_task_is_enqueued_to_the_parents_default(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = door(
        "enqueue", "jobs", "--payload", '{"n": 1}', "--timeout", "1m", "--header", "a=b", "--retention", "1h"
    )
    assert (code, err) == (0, "")
    assert world.pending() == [out.strip()]
    message = world.message(out.strip())
    assert (message.type, message.payload, message.queue) == ("jobs.default", b'{"n": 1}', "jobs.default")
    assert (message.timeout, message.retention, message.retry) == (60, 3600, 3)


def test_the_runqy_servers_defaults_are_used(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    door("enqueue", "jobs.default", "--payload", "1", "--id", "a")
    message = world.message("a")
    assert (message.retry, message.retention, message.timeout) == (3, 86400, 1800)
    assert world.db.hget("asynq:t:a", "queue") == "jobs.default"


def test_lines_of_the_standard_input_are_tasks(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = door("enqueue", "jobs", stdin='{"n":1}\n\n{"n":2}\n[3]')
    assert code == 0
    assert world.pending() == out.split()
    assert [world.message(task_id).payload for task_id in out.split()] == [b'{"n":1}', b'{"n":2}', b"[3]"]


class Terminal(io.TextIOWrapper):
    """A standard input that is a terminal, at which one line is typed."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_says_what_it_waits_for(
    world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"1\n")))
    assert main(["enqueue", "jobs"]) == 0
    assert "reading payloads, one per line, until Ctrl-D" in capfd.readouterr().err
    assert len(world.pending()) == 1


def test_envelopes_carry_their_own_settings(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    lines = [
        '{"id": "a", "payload": {"x":  1}, "max_retry": 9, "headers": {"k": "v"}}',
        '{"id": "b", "payload": null, "delay": 60, "type": "other"}',
    ]
    code, out, _ = door("enqueue", "jobs", "--envelope", "--max-retry", "1", "--json", stdin="\n".join(lines))
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": "a", "queue": "jobs.default"},
        {"id": "b", "queue": "jobs.default"},
    ]
    assert (world.message("a").payload, world.message("a").retry) == (b'{"x":  1}', 9)
    assert (world.message("b").type, world.message("b").retry) == ("other", 1)
    assert world.db.zscore(world.keys.scheduled, "b") > time.time() + 55


def test_a_bad_line_is_named_and_the_lines_before_it_are_enqueued(
    world: World, door: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = door("enqueue", "jobs", stdin="1\nnot json\n3")
    assert code == 64
    assert "line 2: not JSON" in err
    assert world.pending() == out.split()
    assert len(world.pending()) == 1
    code, _, err = door("enqueue", "jobs", "--envelope", stdin='{"payload": 1, "priority": 2}')
    assert (code, "line 1" in err, "priority" in err) == (64, True, True)


def test_a_payload_comes_from_a_file_or_is_not_json(
    world: World, door: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "p.json").write_text('{\n "n": 1\n}\n')
    assert door("enqueue", "jobs", "--payload", "@p.json", "--id", "a")[0] == 0
    assert world.message("a").payload == b'{\n "n": 1\n}\n'
    assert door("enqueue", "jobs", "--payload", "-", "--id", "b", stdin='{"m":\n2}')[0] == 0
    assert world.message("b").payload == b'{"m":\n2}'
    code, _, err = door("enqueue", "jobs", "--payload", "@absent")
    assert (code, "absent: No such file" in err) == (64, True)
    code, _, err = door("enqueue", "jobs", "--payload", "hello")
    assert (code, "--payload: not JSON" in err, "--raw" in err) == (64, True, True)
    assert door("enqueue", "jobs", "--payload", "hello", "--raw", "--id", "c")[0] == 0
    assert world.message("c").payload == b"hello"


def test_delays_and_moments_schedule(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    door("enqueue", "jobs", "--payload", "1", "--id", "a", "--delay", "1h30m")
    door("enqueue", "jobs", "--payload", "1", "--id", "b", "--at", "2100-01-01T00:00:00+00:00")
    door("enqueue", "jobs", "--payload", "1", "--id", "c", "--at", "4102444801")
    scores = dict(world.db.zrange(world.keys.scheduled, 0, -1, withscores=True))
    assert abs(scores["a"] - time.time() - 5400) < 10
    assert (scores["b"], scores["c"]) == (4102444800, 4102444801)


def test_refusals_exit_with_1_and_say_why(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    assert door("enqueue", "jobs", "--payload", "1", "--id", "a", "--unique", "1m")[0] == 0
    code, out, err = door("enqueue", "jobs", "--payload", "1", "--id", "a")
    assert (code, out) == (1, "")
    assert "queue jobs.default already has a task a" in err
    code, _, err = door("enqueue", "jobs", "--payload", "1", "--unique", "1m")
    assert (code, "a holds the lock" in err) == (1, True)


def test_waiting_prints_the_result(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    worker = finish(world, "completed", {"result": '{"y": 2}'})
    assert door("enqueue", "jobs", "--payload", "1", "--wait")[:2] == (0, '{"y": 2}\n')
    worker.join()


@pytest.mark.parametrize(("served", "hint"), [("jobs.default", ""), ("mail", "no worker serves jobs.default now")])
def test_a_wait_that_may_be_long_says_so(
    world: World, door: Callable[..., tuple[int, str, str]], served: str, hint: str
) -> None:
    snapshot = WorkerSnapshot(
        *("h:7:x", "h", 7, time.time()),
        concurrency=1,
        queues={served: 1},
        strict_priority=False,
        status="running",
        healthy=True,
    )
    world.raw.set("asynq:servers:{h:7:x}", server_info(snapshot))
    world.db.zadd("asynq:servers", {"asynq:servers:{h:7:x}": time.time() + 10, "asynq:servers:{gone}": 1})
    worker = finish(world, "completed", {"result": "1"})
    code, _, err = door("enqueue", "jobs", "--payload", "1", "--wait")
    worker.join()
    assert code == 0
    assert (hint in err) if hint else (err == "")


def test_waiting_for_a_task_that_fails_exits_with_1(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    worker = finish(world, "archived")
    code, out, err = door("enqueue", "jobs", "--payload", "1", "--wait", "--id", "a")
    worker.join()
    assert (code, out) == (1, "")
    assert "task a failed: boom" in err


def test_waiting_in_vain_exits_with_75_and_names_the_state(
    world: World, door: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = door("enqueue", "jobs", "--payload", "1", "--id", "a", "--wait", "--wait-timeout", "50ms")
    assert (code, out) == (75, "")
    assert "task a is still pending" in err
    assert world.pending() == ["a"]


def test_waiting_for_json_tells_everything(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    worker = finish(world, "completed", {"result": "[1]"})
    code, out, _ = door("enqueue", "jobs", "--payload", '{"a":1}', "--id", "a", "--wait", "--json")
    worker.join()
    assert code == 0
    task = json.loads(out)
    assert (task["state"], task["result"], task["payload"]) == ("completed", [1], {"a": 1})


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("enqueue",), "QUEUE"),
        (("enqueue", "a b", "--payload", "1"), "QUEUE: found 'a b'"),
        (("enqueue", "jobs", "--id", "x"), "--id: names one task"),
        (("enqueue", "jobs", "--payload", "1", "--envelope"), "--envelope"),
        (("enqueue", "jobs", "--payload", "1", "--wait", "--retention", "0"), "needs --retention"),
        (("enqueue", "jobs", "--payload", "1", "--timeout", "soon"), "found 'soon'"),
        (("enqueue", "jobs", "--payload", "1", "--timeout=-1s"), "found '-1s'"),
        (("enqueue", "jobs", "--payload", "1", "--at", "tomorrow"), "found 'tomorrow'"),
        (("enqueue", "jobs", "--payload", "1", "--header", "x"), "expected key=value"),
        (("enqueue", "jobs", "--payload", "1", "--max-retry", "x"), "expected a whole number"),
        (("enqueue", "jobs", "--payload", "1", "--unique", "10ms"), "at least 1 s"),
        (("queue",), "COMMAND"),
        (("task", "ls", "jobs", "--state", "odd"), "odd"),
    ],
)
def test_wrong_arguments_exit_with_64(
    world: World, door: Callable[..., tuple[int, str, str]], argv: tuple[str, ...], said: str
) -> None:
    code, _, err = door(*argv)
    assert code == 64
    assert said in err
    assert world.db.dbsize() == 0


def test_where_redis_is_must_be_said(
    door: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, err = door("queue", "ls")
    assert (code, "redis.addr: not set" in err, "--redis" in err) == (78, True, True)
    code, _, err = door("queue", "ls", "--redis", f"127.0.0.1:{free_port()}")
    assert (code, "not reachable" in err) == (69, True)


def test_the_configuration_says_where_redis_is(
    redis_server: RedisServer, door: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text(f'redis:\n  addr: "{redis_server.addr}"\n')
    assert door("queue", "ls", "--json") == (0, "[]\n", "")
    (tmp_path / "config.yml").write_text("redis:\n  addr: 127.0.0.1:1\n  password: for-another-server\n")
    assert door("queue", "ls", "--json", "--redis", redis_server.addr) == (0, "[]\n", "")


def test_queues_are_shown_and_paused_by_parent(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    for queue in ("jobs.a", "jobs.b", "other.a"):
        door("enqueue", queue, "--payload", "1")
    assert door("queue", "pause", "jobs")[1] == "jobs.a: paused\njobs.b: paused\n"
    assert door("queue", "pause", "jobs.a")[1] == "jobs.a: was paused already\n"
    _, out, _ = door("queue", "ls")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0][:3] == ["QUEUE", "PENDING", "ACTIVE"]
    assert [(row[0], row[1], row[-1]) for row in rows[1:3]] == [("jobs.a", "1", "paused"), ("jobs.b", "1", "paused")]
    assert rows[3][0] == "other.a"
    assert [queue["paused"] for queue in json.loads(door("queue", "ls", "--json")[1])] == [True, True, False]
    assert door("queue", "resume", "jobs.a", "--json")[1] == '{"queue":"jobs.a","changed":true}\n'
    assert door("queue", "unpause", "jobs.a")[1] == "jobs.a: was not paused\n"
    assert "state:          paused" in door("queue", "show", "jobs.b")[1]
    code, _, err = door("queue", "pause", "nowhere")
    assert (code, err) == (1, "runqy-worker: there is no queue nowhere\n")


def test_a_task_is_shown_run_archived_and_deleted(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    door("enqueue", "jobs", "--payload", '{"x":1}', "--id", "a", "--delay", "1h", "--header", "k=v")
    _, out, _ = door("task", "show", "a")
    facts = dict(line.split(":", 1) for line in out.splitlines())
    assert facts["state"].strip() == "scheduled"
    assert facts["payload"].strip() == '{"x":1}'
    assert facts["headers"].strip() == "k=v"
    assert json.loads(door("task", "show", "a", "--json")[1])["payload"] == {"x": 1}
    assert door("task", "retry", "a")[1] == "a: pending now (was scheduled)\n"
    assert world.pending() == ["a"]
    assert door("task", "ls", "jobs")[1].splitlines()[1].split()[:4] == ["a", "jobs.default", "jobs.default", "0/3"]
    assert door("task", "archive", "a", "--queue", "jobs.default")[1] == "a: archived (was pending)\n"
    assert json.loads(door("task", "ls", "jobs.default", "--state", "archived", "--json")[1])[0]["id"] == "a"
    assert door("task", "delete", "a", "--json")[1] == '{"id":"a","done":"deleted","was":"archived"}\n'
    code, _, err = door("task", "show", "a")
    assert (code, "task a is not in any queue" in err) == (1, True)


def test_one_refused_task_does_not_keep_the_others_from_being_served(
    world: World, door: Callable[..., tuple[int, str, str]]
) -> None:
    door("enqueue", "jobs", "--payload", "1", "--id", "a")
    code, out, err = door("task", "delete", "absent", "a")
    assert (code, out) == (1, "a: deleted (was pending)\n")
    assert "absent" in err


def test_only_running_tasks_can_be_cancelled(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    door("enqueue", "jobs", "--payload", "1", "--id", "a")
    code, _, err = door("task", "cancel", "a")
    assert (code, "task a is pending: only a running task" in err) == (1, True)
    world.put_active("b", time.time() + 60.5)
    code, _, err = door("task", "cancel", "b")
    assert (code, "no worker listens" in err) == (1, True)
    pubsub = world.db.pubsub()
    pubsub.subscribe("asynq:cancel")
    pubsub.get_message(timeout=5)
    assert door("task", "cancel", "b")[:2] == (0, "b: cancelled (was active)\n")
    pubsub.close()


def test_output_of_task_code_cannot_forge_lines(world: World, door: Callable[..., tuple[int, str, str]]) -> None:
    world.put("a", "archived", 1, error_msg="one\ntwo\x1b[31m")
    _, out, _ = door("task", "show", "a", "--queue", "jobs.default")
    assert "one\\ntwo\\x1b[31m" in out


def test_the_real_program_enqueues_in_a_pipe(redis_server: RedisServer, world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runqy_worker", "enqueue", "jobs", "--redis", redis_server.addr],
        input=b"1\n2\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert world.pending() == done.stdout.decode().split()
    assert len(world.pending()) == 2
