"""Each example keeps the protocol."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runqy_worker.deployment.queues_file import read_queues_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest import TempPathFactory  # noqa: PT013 - a type only

    Start = Callable[..., Any]

EXAMPLES = Path(__file__).parents[3] / "examples"
READY = {"status": "ready"}


def answered(
    task_id: str, result: object = None, error: str | None = None, *, retry: bool = False
) -> dict[str, object]:
    return {"task_id": task_id, "result": result, "error": error, "retry": retry}


def test_hello_serves_many_tasks_with_one_process(start: Start) -> None:
    child = start("hello-long-running", GREETING="Good day")
    assert child.next() == READY
    child.send("1", {"name": "Ada"})
    child.send("2", {"name": "Grace"})
    child.send("3", {})
    child.send("4", None)
    assert child.next() == answered("1", {"greeting": "Good day, Ada!"})
    assert child.next() == answered("2", {"greeting": "Good day, Grace!"})
    assert child.next() == answered("3", error="the payload needs a name")
    assert child.next() == answered("4", error="the payload needs a name")
    assert child.close_stdin() == 0
    assert child.log == ["hello is ready to greet"]


def test_one_shot_serves_one_task_and_ends(start: Start) -> None:
    child = start("hello-one-shot")
    assert child.next() == READY
    child.send("1", {"name": "Ada"})
    assert child.next() == answered("1", {"greeting": "Hello, Ada!", "pid": child.process.pid})
    assert child.process.wait(20) == 0


def test_one_shot_that_is_not_needed_ends_quietly(start: Start) -> None:
    child = start("hello-one-shot")
    assert child.next() == READY
    assert child.close_stdin() == 0


def test_the_model_is_loaded_before_it_is_ready(start: Start) -> None:
    child = start("ml-shaped")
    assert child.next() == READY
    child.send("1", {"text": "Where is the train?"})
    child.send("2", {"text": "Wo ist der Zug?"})
    child.send("3", {"text": "Où est le train ?"})
    answers = [child.next() for _ in range(3)]
    assert [answer["result"]["language"] for answer in answers] == ["english", "german", "french"]
    assert child.close_stdin() == 0
    assert child.log == [f"loading the model: {n} of 3 ({name})" for n, name in enumerate(LANGUAGES, start=1)]


LANGUAGES = ("english", "french", "german")


def test_what_may_heal_is_retried_and_what_can_not_is_not(start: Start) -> None:
    child = start("ml-shaped")
    assert child.next() == READY
    child.send("1", {"text": "hello there", "flaky_for": 1})
    child.send("1", {"text": "hello there", "flaky_for": 1}, retry_count=1)
    child.send("2", {"text": 7})
    assert child.next() == answered("1", error="the feature store did not answer", retry=True)
    assert child.next()["result"]["language"] == "english"
    assert child.next() == answered("2", error="text: found 7, expected a string")


def test_parallel_announces_its_concurrency_and_answers_in_any_order(start: Start) -> None:
    child = start("parallel", TASKS_AT_ONCE="2")
    assert child.next() == {"status": "ready", "concurrency": 2}
    child.send("slow", {"seconds": 0.5})
    child.send("quick", {"seconds": 0})
    child.send("bad", {"seconds": "soon"})
    assert child.next() == answered("quick", {"waited": 0})
    bad = child.next()
    assert (bad["task_id"], bad["retry"]) == ("bad", False)
    assert "TypeError" in bad["error"]
    assert child.close_stdin() == 0, "what was begun is answered first"
    assert child.next() == answered("slow", {"waited": 0.5})


@pytest.fixture(scope="module")
def sdk_python(tmp_path_factory: TempPathFactory) -> str:
    """A Python with what the example requires."""
    directory = tmp_path_factory.mktemp("sdk")
    venv.create(directory, with_pip=True)
    python = str(directory / "bin" / "python")
    requirements = EXAMPLES / "runqy-sdk" / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", str(requirements)], check=True)
    return python


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_sdk_keeps_the_protocol(start: Start, sdk_python: str) -> None:
    child = start("runqy-sdk", python=sdk_python)
    assert child.next() == READY
    child.send("1", {"text": "the fox and the dog and the fox"})
    child.send("2", {"try_later": True})
    child.send("3", {})
    assert child.next() == answered("1", {"words": 3, "most_common": [["fox", 2], ["dog", 1]]})
    assert child.next() == answered("2", error="asked to try later", retry=True)
    failed = child.next()
    assert "KeyError: 'text'" in failed["error"]
    assert not failed["retry"]
    assert child.close_stdin() == 0
    assert child.log == ["counted 3 words"]


def test_the_definitions_name_what_is_there_and_nothing_unknown() -> None:
    read = read_queues_file(EXAMPLES / "queues.yml", {})
    assert read.remarks == ()
    described = {queue.deployment.code_path: queue for queue in read.queues.values()}
    assert set(described) == {f"examples/{folder.name}" for folder in EXAMPLES.iterdir() if folder.is_dir()}
    for path, queue in described.items():
        assert Path(queue.deployment.git_url) == EXAMPLES.parent
        assert (EXAMPLES.parent / path / queue.deployment.startup_cmd.split()[1]).is_file()
        assert queue.deployment.redis_storage


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in EXAMPLES.glob("*/main.py")))
def test_each_example_explains_how_to_try_it(folder: str) -> None:
    text = (EXAMPLES / folder / "README.md").read_text()
    assert f"runqy-worker dev examples/{folder}" in text
    assert f"[{folder}]({folder})" in (EXAMPLES / "README.md").read_text()
