"""Enqueueing, and everything else that is done to tasks from outside, against a real Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from support.asynq_world import World
from support.redis_server import free_port

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.refusals import (
    DuplicateTaskError,
    QueueNotFoundError,
    RefusedError,
    TaskIdTakenError,
    TaskNotFoundError,
    TaskStateError,
)
from runqy_worker.domain.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

QUEUE = "jobs.default"


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    world = World(redis_server.addr)
    yield world
    await world.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsynqClient]:
    async with AsynqClient(world.options) as client:
        yield client


async def test_an_enqueued_task_is_what_asynq_expects(world: World, client: AsynqClient) -> None:
    task_id = await client.enqueue(QUEUE, b'{"n":1}', retention=3600.2, max_retry=5, headers={"trace": "abc", "a": ""})
    assert world.pending() == [task_id]
    assert world.db.smembers("asynq:queues") == {QUEUE}
    assert world.db.hgetall(f"asynq:t:{task_id}") == {"queue": QUEUE}
    assert set(world.db.hkeys(world.keys.task(task_id))) == {"msg", "state", "pending_since"}
    message = world.message(task_id)
    assert (message.type, message.queue, message.payload) == (QUEUE, QUEUE, b'{"n":1}')
    assert (message.retry, message.timeout, message.retention) == (5, 1800, 3601)
    task = await client.get_task(task_id)
    assert (task.state, task.headers, task.result) == ("pending", {"trace": "abc", "a": ""}, None)
    assert abs(task.pending_since - time.time()) < 5
    assert not task.finished


async def test_a_deadline_alone_sets_no_timeout(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"", task_id="a", deadline=1_900_000_000, timeout=0)
    assert (world.message("a").timeout, world.message("a").deadline) == (0, 1_900_000_000)


async def test_a_scheduled_task_is_never_early_and_keeps_its_group(world: World, client: AsynqClient) -> None:
    at = time.time() + 99.5
    await client.enqueue(QUEUE, b"", task_id="a", process_at=at, group="mail", type="mail:send")
    assert at <= world.db.zscore(world.keys.scheduled, "a") < at + 1
    assert world.field("a", "group") == "mail"
    task = await client.get_task("a", QUEUE)
    assert (task.state, task.group, task.type) == ("scheduled", "mail", "mail:send")
    assert task.next_process_at >= at


async def test_a_grouped_task_waits_in_its_group(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"", task_id="a", group="mail")
    assert world.db.zrange(world.keys.group("mail"), 0, -1) == ["a"]
    assert world.db.smembers(world.keys.groups) == {"mail"}
    assert (await client.get_task("a")).state == "aggregating"
    await client.run_now("a")
    assert world.pending() == ["a"]
    assert not world.db.exists(world.keys.groups, world.keys.group("mail"))


async def test_an_id_is_taken_once_and_a_refused_task_keeps_no_lock(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"1", task_id="a")
    with pytest.raises(TaskIdTakenError, match="already has a task a"):
        await client.enqueue(QUEUE, b"2", task_id="a", unique_ttl=60)
    assert list(world.db.scan_iter("*unique*")) == []
    assert world.pending() == ["a"]
    assert await client.enqueue("other.queue", b"", task_id="a") == "a"


async def test_a_unique_task_is_taken_once_and_the_holder_is_named(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"1", task_id="a", unique_ttl=60)
    with pytest.raises(DuplicateTaskError, match="a holds the lock") as refused:
        await client.enqueue(QUEUE, b"1", task_id="b", unique_ttl=60)
    assert refused.value.holder == "a"
    assert not world.db.exists("asynq:t:b", world.keys.task("b"))
    await client.enqueue(QUEUE, b"2", task_id="c", unique_ttl=60)
    lock = world.keys.unique(QUEUE, b"1")
    assert world.db.get(lock) == "a"
    assert 0 < world.db.ttl(lock) <= 60
    assert world.field("a", "unique_key") == world.message("a").unique_key == lock
    await client.delete("a")
    assert not world.db.exists(lock, "asynq:t:a", world.keys.task("a"))


async def test_a_scheduled_unique_task_holds_its_lock_until_it_has_run(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"", task_id="a", unique_ttl=60, process_in=100)
    assert 150 < world.db.ttl(world.keys.unique(QUEUE, b"")) <= 161


async def test_many_are_enqueued_in_few_round_trips(world: World, client: AsynqClient) -> None:
    tasks = [NewTask(QUEUE, b"%d" % number, id=f"t{number}") for number in range(1200)]
    tasks[7].id = "t3"
    tasks[8].queue = "other.default"
    answers = await client.enqueue_many(tasks)
    assert [type(answer) for answer in answers].count(TaskIdTakenError) == 1
    assert isinstance(answers[7], TaskIdTakenError)
    assert world.pending() == [f"t{number}" for number in range(1200) if number not in {7, 8}]
    assert world.db.smembers("asynq:queues") == {QUEUE, "other.default"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queue": " "}, "queue: got ' '"),
        ({"queue": "a{b}"}, "without braces"),
        ({"id": ""}, "id: got ''"),
        ({"unique_ttl": 0.5}, "at least 1 s"),
    ],
)
def test_what_asynq_refuses_is_refused_before_it_is_sent(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NewTask(**{"queue": QUEUE, "payload": b"", **settings})  # type: ignore[arg-type]  # wrong on purpose


async def test_a_task_is_found_without_its_queue_and_without_the_record(world: World, client: AsynqClient) -> None:
    await client.enqueue("q1.a", b"", task_id="x")
    await client.enqueue("q2.b", b"", task_id="y", lookup=False)
    assert not world.db.exists("asynq:t:y")
    assert (await client.get_task("x")).queue == "q1.a"
    assert (await client.get_task("y")).queue == "q2.b"
    with pytest.raises(TaskNotFoundError, match="task z is not in any queue"):
        await client.get_task("z")
    with pytest.raises(TaskNotFoundError, match=r"not in queue q2\.b"):
        await client.get_task("x", "q2.b")


async def test_a_task_shows_what_happened_to_it(world: World, client: AsynqClient) -> None:
    world.put(
        "a",
        "archived",
        5,
        retried=1,
        error_msg="boom",
        last_failed_at=123,
        hash_retried="2",
        hash_result='{"x":1}',
        hash_deaths="3",
        hash_reruns="1",
        hash_recovered="4",
    )
    task = await client.get_task("a", QUEUE)
    assert (task.state, task.error, task.last_failed_at, task.retried) == ("archived", "boom", 123, 2)
    assert (task.result, task.deaths, task.reruns, task.recovered) == (b'{"x":1}', 3, 1, 4)
    assert task.finished


async def test_an_unreadable_task_is_named(world: World, client: AsynqClient) -> None:
    world.db.hset(world.keys.task("a"), mapping={"msg": "\x0a\x7f", "state": "pending"})
    with pytest.raises(BackendError, match=r"asynq:\{jobs.default\}:t:a: field msg can't be read"):
        await client.get_task("a", QUEUE)


async def test_waiting_ends_when_the_task_has_ended(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"", task_id="a")
    world.db.config_resetstat()
    waiting = asyncio.create_task(client.wait_result("a", timeout=10))
    while world.db.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] < 2:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0.01)
    world.db.hset(world.keys.task("a"), mapping={"state": "completed", "result": '"done"'})
    task = await waiting
    assert (task.state, task.result) == ("completed", b'"done"')


async def test_waiting_in_vain_returns_the_task_as_it_is(client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"", task_id="a")
    assert (await client.wait_result("a", timeout=0.05)).state == "pending"
    with pytest.raises(TaskNotFoundError):
        await client.wait_result("nobody", timeout=1)


async def test_queues_show_their_figures(world: World, client: AsynqClient) -> None:
    assert await client.queues() == []
    await client.enqueue(QUEUE, b"")
    await client.enqueue(QUEUE, b"", process_in=60)
    world.put("r", "retry", 9)
    world.put("d", "archived", 9)
    world.put("c", "completed", 9)
    world.put("x", "active")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    world.db.mset({world.keys.processed_on(today): 7, world.keys.failed: 2})
    oldest = world.pending()[0]
    world.db.hset(world.keys.task(oldest), "pending_since", int((time.time() - 30) * 1e9))
    queue = await client.queue(QUEUE)
    assert (queue.pending, queue.active, queue.scheduled, queue.retry) == (1, 1, 1, 1)
    assert (queue.archived, queue.completed, queue.paused) == (1, 1, False)
    assert (queue.processed, queue.failed, queue.processed_total, queue.failed_total) == (7, 0, 0, 2)
    assert 29 < queue.latency < 60
    world.db.hset(world.keys.task(oldest), "pending_since", int(time.time()) - 30)
    assert 29 < (await client.queue(QUEUE)).latency < 60
    assert [each.name for each in await client.queues()] == [QUEUE]


async def test_pausing_twice_says_so(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"")
    assert await client.pause(QUEUE)
    assert not await client.pause(QUEUE)
    assert abs(int(world.db.get(world.keys.paused)) - time.time()) < 5
    assert (await client.queue(QUEUE)).paused
    assert await client.unpause(QUEUE)
    assert not await client.unpause(QUEUE)
    with pytest.raises(QueueNotFoundError, match="no queue nowhere"):
        await client.pause("nowhere")


@pytest.mark.parametrize("state", ["scheduled", "retry", "archived", "completed"])
async def test_a_waiting_or_ended_task_runs_again_at_once(world: World, client: AsynqClient, state: str) -> None:
    world.put("a", state, time.time() + 100)
    world.db.expire(world.keys.task("a"), 100)
    assert await client.run_now("a", QUEUE) == state
    assert world.pending() == ["a"]
    assert world.db.zcard(world.keys.prefix + state) == 0
    assert world.db.ttl(world.keys.task("a")) == -1
    assert int(world.field("a", "pending_since")) > 10**18
    with pytest.raises(TaskStateError, match="task a is pending: nothing to do"):
        await client.run_now("a", QUEUE)


async def test_archiving_takes_a_task_out_of_its_list(world: World, client: AsynqClient) -> None:
    await client.enqueue(QUEUE, b"", task_id="a")
    assert await client.archive("a") == "pending"
    assert world.pending() == []
    assert abs(world.db.zscore(world.keys.archived, "a") - time.time()) < 5
    with pytest.raises(TaskStateError, match="archived"):
        await client.archive("a")
    assert await client.delete("a") == "archived"
    assert world.db.zcard(world.keys.archived) == 0
    with pytest.raises(TaskNotFoundError):
        await client.delete("a")


@pytest.mark.parametrize("verb", ["archive", "delete"])
async def test_what_a_wait_took_hold_of_and_nobody_claimed_can_still_be_moved(
    world: World, client: AsynqClient, verb: str
) -> None:
    await client.enqueue(QUEUE, b"", task_id="a")
    world.db.lmove(world.keys.pending, world.keys.active, "RIGHT", "LEFT")
    assert await getattr(client, verb)("a", QUEUE) == "pending"
    assert not world.db.exists(world.keys.pending, world.keys.active)
    assert world.db.zcard(world.keys.archived) == (verb == "archive")


async def test_a_running_task_is_left_alone(world: World, client: AsynqClient) -> None:
    world.put_active("a", time.time() + 9.5)
    for act in (client.run_now, client.archive, client.delete):
        with pytest.raises(TaskStateError, match="task a is active: cancel it first"):
            await act("a", QUEUE)
    assert world.db.llen(world.keys.active) == 1


async def test_cancelling_reaches_those_who_listen(world: World, client: AsynqClient) -> None:
    assert await client.cancel("a") == 0
    pubsub = world.db.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("asynq:cancel")
    pubsub.get_message(timeout=5)
    assert await client.cancel("a") == 1
    assert pubsub.get_message(timeout=5)["data"] == "a"
    pubsub.close()


async def test_listing_gives_who_is_next_first_in_pages(world: World, client: AsynqClient) -> None:
    for number in range(5):
        await client.enqueue(QUEUE, b"", task_id=f"p{number}")
        world.put(f"s{number}", "scheduled", 100 + number)
    world.db.hset(world.keys.task("p1"), "msg", "\x0a\x7f")
    assert [task.id for task in await client.list_tasks(QUEUE, "pending", limit=3)] == ["p0", "p2"]
    assert [task.id for task in await client.list_tasks(QUEUE, "pending", limit=3, offset=3)] == ["p3", "p4"]
    listed = await client.list_tasks(QUEUE, "scheduled", limit=2, offset=1)
    assert [(task.id, task.next_process_at) for task in listed] == [("s1", 101), ("s2", 102)]
    assert await client.list_tasks(QUEUE, "archived") == []
    with pytest.raises(ValueError, match="state: got 'nonsense'"):
        await client.list_tasks(QUEUE, "nonsense")


async def test_an_unreachable_redis_is_not_a_refusal() -> None:
    client = AsynqClient(RedisOptions(addr=f"127.0.0.1:{free_port()}"))
    with pytest.raises(BackendUnavailableError):
        await client.enqueue(QUEUE, b"")
    assert not issubclass(RefusedError, BackendError)
