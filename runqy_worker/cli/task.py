"""`runqy-worker task`: look at tasks, run, archive, delete or cancel them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from runqy_worker.cli import values
from runqy_worker.cli.parsing import add_verb, add_verbs
from runqy_worker.cli.queue import expand
from runqy_worker.cli.redis_options import add_action, options_from_arguments
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    from runqy_worker.backends.asynq.inspector import AsynqInspector
    from runqy_worker.backends.asynq.task_info import TaskInfo

_STATES = ("pending", "active", "scheduled", "retry", "archived", "completed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the commands about tasks."""
    verbs = add_verbs(parser)
    listing = add_verb(verbs, "ls", "list the tasks of a queue that are in one state", aliases=["list"])
    listing.add_argument("queue", metavar="QUEUE", help="a queue, or a parent for all its sub-queues")
    states = ", ".join(_STATES)
    listing.add_argument(
        "--state", choices=_STATES, default="pending", metavar="STATE", help=f"one of {states} (pending)"
    )
    listing.add_argument("--limit", type=values.count, default=30, metavar="N", help="most tasks per queue (30)")
    listing.add_argument("--offset", type=values.count, default=0, metavar="N", help="leave out the first N")
    add_action(listing, run, _list)
    for name, does, aliases, act in (
        ("show", "show all that is known of a task", (), _show),
        ("cancel", "end a running task", (), _cancel),
        ("retry", "run a waiting or ended task now", ("run",), _retry),
        ("archive", "keep a task from running, for inspection", (), _archive),
        ("delete", "delete a task that is not running", (), _delete),
    ):
        verb = add_verb(verbs, name, does, aliases=aliases)
        verb.add_argument("ids", nargs="+", metavar="ID", help="task id")
        verb.add_argument("--queue", metavar="QUEUE", help="the task's queue; looked for in all when left out")
        add_action(verb, run, act)


def run(args: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from runqy_worker.backends.asynq.client import AsynqClient  # noqa: PLC0415 - redis is not for `--help`
    from runqy_worker.backends.asynq.refusals import RefusedError  # noqa: PLC0415 - likewise

    async with AsynqClient(options_from_arguments(args)) as client:
        if args.act is _list:
            await _list(client, args)
            return ExitCode.OK
        code = ExitCode.OK
        for task_id in args.ids:
            try:
                await args.act(client, args, task_id)
            except RefusedError as error:  # the other tasks are still to be served
                print(f"runqy-worker task: {error}", file=sys.stderr)
                code = ExitCode.FAILURE
        return code


async def _list(inspector: AsynqInspector, args: argparse.Namespace) -> None:
    from runqy_worker.cli.tables import as_json, table, when  # noqa: PLC0415 - msgspec is not for `--help`

    tasks: list[TaskInfo] = []
    for name in await expand(inspector, [args.queue]):
        tasks += await inspector.list_tasks(name, args.state, limit=args.limit, offset=args.offset)
    if args.json:
        print(as_json(tasks))
        return
    rows = [
        (
            *(task.id, task.queue, task.type, f"{task.retried}/{task.max_retry}"),
            *(when(task.next_process_at or task.completed_at or task.pending_since), task.error),
        )
        for task in tasks
    ]
    print(table(("ID", "QUEUE", "TYPE", "RETRIED", "WHEN", "ERROR"), rows))


async def _show(inspector: AsynqInspector, args: argparse.Namespace, task_id: str) -> None:
    from runqy_worker.cli.tables import as_json, facts, when  # noqa: PLC0415 - msgspec is not for `--help`

    task = await inspector.get_task(task_id, args.queue)
    if args.json:
        print(as_json(task))
        return
    timeout, retention = (f"{seconds}s" if seconds else "" for seconds in (task.timeout, task.retention))
    print(
        facts(
            [
                ("id", task.id),
                ("queue", task.queue),
                ("type", task.type),
                ("state", task.state),
                ("retried", f"{task.retried} of {task.max_retry}"),
                ("error", task.error),
                ("last failed", when(task.last_failed_at)),
                ("process deaths", task.deaths),
                ("involuntary re-runs", task.reruns),
                ("recovered", task.recovered),
                ("pending since", when(task.pending_since)),
                ("runs at", when(task.next_process_at)),
                ("completed", when(task.completed_at)),
                ("timeout", timeout),
                ("deadline", when(task.deadline)),
                ("kept for", retention),
                ("group", task.group),
                ("headers", ", ".join(f"{key}={value}" for key, value in task.headers.items())),
                ("payload", task.payload),
                ("result", task.result),
            ]
        )
    )


async def _cancel(inspector: AsynqInspector, args: argparse.Namespace, task_id: str) -> None:
    from runqy_worker.backends.asynq.refusals import TaskStateError  # noqa: PLC0415 - not for `--help`

    task = await inspector.get_task(task_id, args.queue)
    if task.state != "active":
        raise TaskStateError(task_id, task.state, "only a running task can be cancelled; archive or delete it")
    if not await inspector.cancel(task_id):
        raise TaskStateError(task_id, task.state, "but no worker listens for cancellations")
    _say(args, task_id, "cancelled", task.state)


async def _retry(inspector: AsynqInspector, args: argparse.Namespace, task_id: str) -> None:
    _say(args, task_id, "pending now", await inspector.run_now(task_id, args.queue))


async def _archive(inspector: AsynqInspector, args: argparse.Namespace, task_id: str) -> None:
    _say(args, task_id, "archived", await inspector.archive(task_id, args.queue))


async def _delete(inspector: AsynqInspector, args: argparse.Namespace, task_id: str) -> None:
    _say(args, task_id, "deleted", await inspector.delete(task_id, args.queue))


def _say(args: argparse.Namespace, task_id: str, done: str, was: str) -> None:
    if args.json:
        import msgspec  # noqa: PLC0415 - not for `--help`

        print(msgspec.json.encode({"id": task_id, "done": done, "was": was}).decode())
    else:
        print(f"{task_id}: {done} (was {was})")
