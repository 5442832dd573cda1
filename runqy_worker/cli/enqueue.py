"""`runqy-worker enqueue`: add tasks to a queue, and wait for their results if asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

from runqy_worker.cli import values
from runqy_worker.cli.redis_options import add_redis_arguments, options_from_arguments
from runqy_worker.domain.queues import enqueue_target, is_valid
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from runqy_worker.backends.asynq.client import AsynqClient
    from runqy_worker.backends.asynq.new_task import NewTask
    from runqy_worker.backends.asynq.task_info import TaskInfo

_BATCH = 500
_DAY = 86400.0

_DESCRIPTION = """\
Adds one task, or one per line of the standard input when --payload is not given, and prints the ids.
A parent queue (`inference`) means its sub-queue `default` (`inference.default`). Like the runqy server, it allows
3 retries and keeps completed tasks for 24 hours unless told otherwise.

With --wait it prints the results instead, in the order of the tasks, errors to the standard error."""

_EPILOG = """\
TIME is a duration such as 90s, 5m or 1h30m; WHEN is a moment, as Unix seconds or such as 2030-01-31T18:00:00Z.

Exit codes: 0 enqueued (with --wait: completed), 1 refused or failed, 64 wrong arguments, 69 Redis unreachable,
75 not finished in time.

examples:
  runqy-worker enqueue inference.high --payload '{"input": 1}' --wait
  runqy-worker enqueue inference --redis 127.0.0.1:6379 < payloads.jsonl"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("queue", metavar="QUEUE", help="`parent.sub`, or a parent for its sub-queue `default`")
    parser.add_argument(
        "--payload",
        metavar="JSON|@FILE|-",
        help="the payload, a file that holds it, or - for all of the standard input",
    )
    parser.add_argument("--raw", action="store_true", help="do not check that payloads are JSON")
    parser.add_argument(
        "--envelope",
        action="store_true",
        help="lines are objects: payload, and optionally id, type, max_retry, timeout, deadline, retention, delay, "
        "at, unique, headers (seconds)",
    )
    parser.add_argument(
        "--type", default="", metavar="NAME", help="what the task code dispatches on (the queue's full name)"
    )
    parser.add_argument("--id", metavar="ID", help="task id (a random one)")
    parser.add_argument(
        "--max-retry",
        type=values.count,
        default=3,
        metavar="N",
        help="failures after which it is archived instead of tried again (3)",
    )
    parser.add_argument(
        "--timeout", type=values.duration, default=0.0, metavar="TIME", help="how long one attempt may take (30m)"
    )
    parser.add_argument(
        "--deadline",
        type=values.moment,
        default=0.0,
        metavar="WHEN",
        help="archive it instead of running it later than that",
    )
    parser.add_argument(
        "--retention",
        type=values.duration,
        default=_DAY,
        metavar="TIME",
        help="how long it is kept once completed (24h)",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--delay", type=values.duration, default=0.0, metavar="TIME", help="run it that much later")
    start.add_argument("--at", type=values.moment, default=0.0, metavar="WHEN", help="run it at that moment")
    parser.add_argument(
        "--unique",
        type=values.duration,
        default=0.0,
        metavar="TIME",
        help="for that long, refuse another with the same type and payload",
    )
    parser.add_argument(
        "--header",
        type=values.header,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a header of the task (repeatable)",
    )
    parser.add_argument("--wait", action="store_true", help="wait until it has ended and print its result")
    parser.add_argument(
        "--wait-timeout",
        type=values.duration,
        default=300.0,
        metavar="TIME",
        help="how long to wait (5m); the task goes on",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per task")
    add_redis_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Enqueue, perhaps wait, and return the exit code."""
    problem = _problem(args)
    if problem:
        print(f"runqy-worker enqueue: {problem}", file=sys.stderr)
        return ExitCode.USAGE
    return asyncio.run(_enqueue(args))


def _problem(args: argparse.Namespace) -> str:
    if not is_valid(args.queue):
        return f"QUEUE: found {args.queue!r}, expected letters, digits and . _ : -"
    if args.payload is None and args.id:
        return "--id: names one task; use --payload, or --envelope with an id in each line"
    if args.payload is not None and args.envelope:
        return "--envelope: is for lines of the standard input, not for --payload"
    if args.wait and not args.retention:
        return "--wait: needs --retention, since a task without is deleted when it completes"
    return ""


async def _enqueue(args: argparse.Namespace) -> int:
    from runqy_worker.backends.asynq.client import AsynqClient  # noqa: PLC0415 - redis is not for `--help`
    from runqy_worker.cli.payloads import PayloadError  # noqa: PLC0415 - likewise

    worst = 0
    awaited: list[tuple[str, str]] = []
    async with AsynqClient(options_from_arguments(args)) as client:
        coming = _tasks(args)
        while True:
            problem: ValueError | None = None
            batch: list[NewTask] = []
            try:
                for task in itertools.islice(coming, _BATCH):
                    batch.append(task)  # noqa: PERF402 - what came before a bad line is kept
            except (PayloadError, ValueError) as error:
                problem = error
            if batch:
                worst = max(worst, await _send(client, args, batch, awaited))
            if problem is not None:
                print(f"runqy-worker enqueue: {problem}", file=sys.stderr)
                return ExitCode.USAGE
            if len(batch) < _BATCH:
                break
        if args.wait:
            await _tell_unserved(client, {queue for _, queue in awaited})
            ends = time.monotonic() + args.wait_timeout
            for task_id, queue in awaited:
                worst = max(worst, await _wait(client, args, task_id, queue, ends))
    return worst


async def _send(
    client: AsynqClient, args: argparse.Namespace, batch: list[NewTask], awaited: list[tuple[str, str]]
) -> int:
    """Enqueue a batch, print the ids unless results are waited for, and remember what is to be waited for."""
    import msgspec  # noqa: PLC0415 - not for `--help`

    code = ExitCode.OK
    for task, answer in zip(batch, await client.enqueue_many(batch), strict=True):
        if not isinstance(answer, str):
            print(f"runqy-worker enqueue: {answer}", file=sys.stderr)
            code = ExitCode.FAILURE
        elif args.wait:
            awaited.append((answer, task.queue))
        else:
            print(msgspec.json.encode({"id": answer, "queue": task.queue}).decode() if args.json else answer)
    return code


async def _tell_unserved(client: AsynqClient, queues: set[str]) -> None:
    """Why the wait may be long. A client that may only enqueue need not be allowed to look."""
    from runqy_worker.domain.errors import BackendError  # noqa: PLC0415 - not for `--help`

    with contextlib.suppress(BackendError):
        for queue in sorted(queues - await client.served_queues()):
            print(f"runqy-worker enqueue: no worker serves {queue} now; waiting", file=sys.stderr)


async def _wait(client: AsynqClient, args: argparse.Namespace, task_id: str, queue: str, ends: float) -> int:
    """Wait for one task and print how it ended."""
    from runqy_worker.backends.asynq.refusals import TaskNotFoundError  # noqa: PLC0415 - not for `--help`
    from runqy_worker.cli.tables import as_json  # noqa: PLC0415 - likewise

    try:
        info = await client.wait_result(task_id, queue, timeout=max(0.0, ends - time.monotonic()))
    except TaskNotFoundError as error:  # the others are still to be waited for
        print(f"runqy-worker enqueue: {error}", file=sys.stderr)
        return ExitCode.FAILURE
    if args.json:
        print(as_json(info), flush=True)
    elif info.state == "completed":
        sys.stdout.flush()
        sys.stdout.buffer.write((info.result or b"") + b"\n")
        sys.stdout.buffer.flush()
    return _verdict(info, quiet=args.json)


def _verdict(info: TaskInfo, *, quiet: bool) -> int:
    if info.state == "completed":
        return ExitCode.OK
    if info.finished:
        said, code = f"task {info.id} failed: {info.error}", ExitCode.FAILURE
    else:
        error = f"; its last error: {info.error}" if info.error else ""
        said, code = f"task {info.id} is still {info.state}{error}", ExitCode.TEMPFAIL
    if not quiet:
        print(f"runqy-worker enqueue: {said}", file=sys.stderr)
    return code


def _tasks(args: argparse.Namespace) -> Iterator[NewTask]:
    """The tasks that the arguments and the standard input describe. Raises `ValueError` where one can't be used."""
    from runqy_worker.cli.payloads import lines, single  # noqa: PLC0415 - msgspec is not for `--help`

    if args.payload is not None:
        yield _task(args, single(args.payload, raw=args.raw), {"id": args.id} if args.id is not None else {})
        return
    if sys.stdin.isatty():
        print("runqy-worker enqueue: reading payloads, one per line, until Ctrl-D", file=sys.stderr)
    for payload, settings in lines(sys.stdin.buffer, raw=args.raw, envelope=args.envelope):
        yield _task(args, payload, settings)


def _task(args: argparse.Namespace, payload: bytes, settings: dict[str, Any]) -> NewTask:
    from runqy_worker.backends.asynq.new_task import NewTask  # noqa: PLC0415 - not for `--help`

    given = dict(settings)
    delay, at, unique = given.pop("delay", args.delay), given.pop("at", args.at), given.pop("unique", args.unique)
    queue = enqueue_target(args.queue)
    merged: dict[str, Any] = {
        "type": args.type,
        "max_retry": args.max_retry,
        "timeout": args.timeout,
        "deadline": args.deadline,
        "retention": args.retention,
        "headers": dict(args.header),
        **given,
    }
    return NewTask(queue, payload, process_at=at, process_in=delay, unique_ttl=unique, **merged)
