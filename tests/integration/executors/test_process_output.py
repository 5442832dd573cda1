"""What task code prints: noise, glue, broken bytes, floods, secrets, lines of many megabytes."""

from __future__ import annotations

import json

import pytest
from integration.executors.stage import Mark, Stage, make_task

from runqy_worker.domain.launch import Mode
from runqy_worker.domain.outcome import Completed
from runqy_worker.executors import output

ANSWER = '{"task_id": "ID", "result": 1, "error": null, "retry": false}'
both_modes = pytest.mark.parametrize("mode", list(Mode))


@both_modes
@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (f"hello\n{ANSWER}\n", ["hello"]),
        (f"hello{ANSWER}\n", ["hello"]),
        (f"{ANSWER}bye\n", ["bye"]),
        (f"\xff\xfe{ANSWER}\n", ["\ufffd\ufffd"]),
        (f'{{"loss": 0.5}}\n{ANSWER}\n', ['{"loss": 0.5}']),
        (f'{{"task_id": "ID", "progress": 50}}\n{ANSWER}\n', ['{"task_id": "ID", "progress": 50}']),
        (f"\n\n  {ANSWER}  \r\n", []),
    ],
)
async def test_answers_are_found_among_prints(stage: Stage, mode: Mode, text: str, printed: list[str]) -> None:
    executor, recorder = await stage.actor(mode=mode)
    executor.run(task := make_task("raw", text=text))
    assert await recorder.result(task) == 1
    await recorder.until(lambda: len(recorder.output) == len(printed))
    for task_id, stream, line in recorder.output:
        assert stream == "stdout"
        assert line.replace(task.id, "ID") in printed
        assert task_id in (task.id, None)  # a print behind the answer belongs to no task any more


async def test_stderr_lines_belong_to_the_only_unanswered_task(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    executor.run(task := make_task("stderr", text="first\nsecond\n"))
    await recorder.outcome(task)
    await recorder.until(lambda: len(recorder.output) == 2)
    assert recorder.output == [(task.id, "stderr", "first"), (task.id, "stderr", "second")]


async def test_unknown_late_and_duplicate_answers_are_dropped_with_one_notice(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    stray = '{"task_id": "nobody", "result": 0}\n'
    executor.run(task := make_task("raw", text=f"{stray * 5}{ANSWER}\n{ANSWER}\n{ANSWER}\n"))
    assert await recorder.result(task) == 1
    executor.run(after := make_task(value="still in step"))
    assert await recorder.result(after) == "still in step"
    assert len(recorder.outcomes) == 2
    assert recorder.actions().count("answer_dropped") == 1


async def test_answers_that_are_not_quite_json_are_mended_and_noted(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    text = '{"task_id": "ID", "result": {"loss": NaN, "name": "\xe9"}, "error": null, "retry": false}\n'
    executor.run(task := make_task("raw", text=text))
    assert await recorder.result(task) == {"loss": None, "name": "\ufffd"}
    assert "answer_mended" in recorder.actions()


async def test_result_bytes_are_those_of_the_answer(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    executor.run(task := make_task("raw", text='{"retry":false,"task_id":"ID","result": {"a" : 1.0e1,  "b":[ ]} }\n'))
    assert await recorder.outcome(task) == Completed(b'{"a" : 1.0e1,  "b":[ ]}')


@both_modes
async def test_lines_of_ten_mebibytes_pass_both_ways(stage: Stage, mode: Mode) -> None:
    executor, recorder = await stage.actor(mode=mode)
    size = 10 * 1024 * 1024
    executor.run(there := make_task("length", value="x" * size))
    assert await recorder.result(there) == size
    executor.run(back := make_task("big", size=size))
    assert await recorder.result(back) == "x" * size


async def test_ten_mebibytes_to_a_child_that_does_not_read_don_t_block_the_loop(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=2)
    blocker = make_task("wait", file=str(flag))
    executor.run(blocker)
    executor.run(big := make_task("length", value="x" * 10 * 1024 * 1024))
    await recorder.until(lambda: executor.health().pids)
    flag.put()
    assert await recorder.result(blocker) == "waited"
    assert await recorder.result(big) == 10 * 1024 * 1024


@both_modes
async def test_too_long_an_answer_fails_its_task_and_nothing_else(stage: Stage, mode: Mode) -> None:
    executor, recorder = await stage.actor(mode=mode, process={"max_line": 100_000, "cancel_grace": 60})
    executor.run(task := make_task("big", size=1_000_000))
    failure = await recorder.failure(task)
    assert "longer than 100000 bytes (process.max_line)" in failure.error
    assert not failure.retryable
    assert not failure.death
    await recorder.until(lambda: executor.room() == 1)
    executor.run(after := make_task(value=1))
    assert await recorder.result(after) == 1
    assert executor.health().crashes == 0


async def test_too_long_an_answer_among_others_fails_its_task_alone_and_the_child_lives_on(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=3, process={"max_line": 100_000, "cancel_grace": 20})
    (pid,) = executor.health().pids
    tasks = [make_task("pid"), make_task("big", size=1_000_000), make_task("pid")]
    for task in tasks:
        executor.run(task)
    assert "process.max_line" in (await recorder.failure(tasks[1])).error
    assert await recorder.result(tasks[0]) == await recorder.result(tasks[2]) == pid


async def test_too_long_a_print_of_the_only_task_fails_it_and_replaces_the_child(stage: Stage) -> None:
    executor, recorder = await stage.actor(process={"max_line": 100_000})
    executor.run(task := make_task("raw", text="x" * 200_000))
    assert "process.max_line" in (await recorder.failure(task)).error
    await recorder.until(lambda: executor.room() == 1)
    executor.run(after := make_task(value=1))
    assert await recorder.result(after) == 1
    assert executor.health().crashes == 0


async def test_too_long_a_print_among_several_tasks_is_tied_to_its_task_by_running_them_alone(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=3, process={"max_line": 100_000})
    tasks = [make_task("raw", text="x" * 200_000), make_task(value=1), make_task(value=2)]
    for task in tasks:
        executor.run(task)
    assert "process.max_line" in (await recorder.failure(tasks[0])).error
    assert [await recorder.result(task) for task in tasks[1:]] == [1, 2]


async def test_long_stderr_lines_are_cut(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    executor.run(task := make_task("stderr", text="y" * 1_000_000 + "\nend\n"))
    await recorder.outcome(task)
    await recorder.until(lambda: len(recorder.output) == 2)
    (_, _, long), (_, _, end) = recorder.output
    assert long.endswith("y [cut]")
    assert len(long) == output.LONGEST + len(" [cut]")
    assert end == "end"


async def test_flood_is_held_back_and_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PER_SECOND", 10)
    executor, recorder = await stage.actor()
    executor.run(task := make_task("stderr", text="noise\n" * 5000))
    await recorder.outcome(task)
    await executor.stop(1)
    left_out = [n.fields["lines"] for n in recorder.notices if n.action == "task_output_left_out"]
    assert len(recorder.output) + sum(map(int, map(str, left_out))) == 5000
    assert len(recorder.output) <= 30


@both_modes
async def test_secrets_show_neither_in_output_nor_in_errors(stage: Stage, mode: Mode) -> None:
    secrets = ("hunter2-hunter2", "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----", "tiny")
    executor, recorder = await stage.actor(mode=mode, secrets=secrets)
    executor.run(task := make_task("stderr", text="key hunter2-hunter2 tiny\nabcdefgh\n"))
    await recorder.outcome(task)
    await recorder.until(lambda: len(recorder.output) == 2)
    assert [line for _, _, line in recorder.output] == ["key *** tiny", "***"]
    executor.run(wrong := make_task("error", error="401 for hunter2-hunter2"))
    assert (await recorder.failure(wrong)).error == "permanent failure: 401 for ***"
    await recorder.until(lambda: executor.room() == 1)
    executor.run(dying := make_task("exit", code=1, text="fatal: hunter2-hunter2\n"))
    assert (await recorder.failure(dying)).error.endswith("fatal: ***")


@both_modes
async def test_errors_say_whether_they_may_be_retried(stage: Stage, mode: Mode) -> None:
    executor, recorder = await stage.actor(mode=mode)
    executor.run(final := make_task("error", error="no such model"))
    failure = await recorder.failure(final)
    assert (failure.error, failure.retryable) == ("permanent failure: no such model", False)
    await recorder.until(lambda: executor.room() == 1)
    executor.run(passing := make_task("error", error="busy", retry=True))
    failure = await recorder.failure(passing)
    assert (failure.error, failure.retryable, failure.death) == ("busy (will retry)", True, False)
    await recorder.until(lambda: executor.room() == 1)
    executor.run(odd := make_task("error", error={"code": 5}))
    assert json.loads((await recorder.failure(odd)).error.partition(": ")[2]) == {"code": 5}
