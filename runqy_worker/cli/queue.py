"""`runqy-worker queue`: look at queues, pause and resume them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.cli.parsing import add_verb, add_verbs
from runqy_worker.cli.redis_options import add_action, options_from_arguments
from runqy_worker.domain.queues import is_parent, parent_of
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse

    from runqy_worker.backends.asynq.inspector import AsynqInspector
    from runqy_worker.backends.asynq.queue_info import QueueInfo

_COLUMNS = ("pending", "active", "scheduled", "retry", "archived", "completed", "processed", "failed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the commands about queues."""
    verbs = add_verbs(parser)
    listing = add_verb(verbs, "ls", "list all queues, or those of some parents, with their figures", aliases=["list"])
    listing.add_argument("queues", nargs="*", metavar="QUEUE", help="a queue, or a parent for all its sub-queues")
    show = add_verb(verbs, "show", "show the figures of single queues")
    pause = add_verb(verbs, "pause", "let nothing more be claimed of a queue; running tasks go on")
    resume = add_verb(verbs, "resume", "let tasks of a paused queue be claimed again", aliases=["unpause"])
    for verb in (show, pause, resume):
        verb.add_argument("queues", nargs="+", metavar="QUEUE", help="a queue, or a parent for all its sub-queues")
    add_action(listing, run, _list)
    add_action(show, run, _show)
    add_action(pause, run, _pause)
    add_action(resume, run, _resume)


def run(args: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from runqy_worker.backends.asynq.client import AsynqClient  # noqa: PLC0415 - redis is not for `--help`

    async with AsynqClient(options_from_arguments(args)) as client:
        await args.act(client, args, await expand(client, args.queues))
    return ExitCode.OK


async def expand(inspector: AsynqInspector, names: list[str]) -> list[str]:
    """Each queue that is named; for a parent, all its sub-queues; all queues when nothing is named.

    Raises:
        QueueNotFoundError: A name fits no queue.
    """
    from runqy_worker.backends.asynq.refusals import QueueNotFoundError  # noqa: PLC0415 - not for `--help`

    known = await inspector.queue_names()
    found = {} if names else dict.fromkeys(known)
    for name in names:
        fitting = [name] if name in known else [each for each in known if is_parent(name) and parent_of(each) == name]
        if not fitting:
            raise QueueNotFoundError(name)
        found |= dict.fromkeys(fitting)
    return list(found)


async def _list(inspector: AsynqInspector, args: argparse.Namespace, names: list[str]) -> None:
    from runqy_worker.cli.tables import as_json, table  # noqa: PLC0415 - msgspec is not for `--help`

    queues = [queue for queue in await inspector.queues() if queue.name in names]
    if args.json:
        print(as_json(queues))
        return
    header = ("QUEUE", *(column.upper() for column in _COLUMNS), "LATENCY", "STATE")
    rows = [(queue.name, *_figures(queue), queue.latency, "paused" if queue.paused else "") for queue in queues]
    print(table(header, rows))


async def _show(inspector: AsynqInspector, args: argparse.Namespace, names: list[str]) -> None:
    from runqy_worker.cli.tables import as_json, facts  # noqa: PLC0415 - msgspec is not for `--help`

    for name in names:
        queue = await inspector.queue(name)
        if args.json:
            print(as_json(queue))
            continue
        print(
            facts(
                [
                    ("queue", queue.name),
                    ("state", "paused" if queue.paused else "served"),
                    *((column, str(figure)) for column, figure in zip(_COLUMNS, _figures(queue), strict=True)),
                    ("processed ever", str(queue.processed_total)),
                    ("failed ever", str(queue.failed_total)),
                    ("groups", queue.groups),
                    ("latency", f"{queue.latency:.1f}s"),
                ]
            )
        )


def _figures(queue: QueueInfo) -> list[int]:
    return [getattr(queue, column) for column in _COLUMNS]


async def _pause(inspector: AsynqInspector, args: argparse.Namespace, names: list[str]) -> None:
    for name in names:
        _say(args, name, changed=await inspector.pause(name), word="paused")


async def _resume(inspector: AsynqInspector, args: argparse.Namespace, names: list[str]) -> None:
    for name in names:
        _say(args, name, changed=await inspector.unpause(name), word="resumed")


def _say(args: argparse.Namespace, name: str, *, changed: bool, word: str) -> None:
    if args.json:
        import msgspec  # noqa: PLC0415 - not for `--help`

        print(msgspec.json.encode({"queue": name, "changed": changed}).decode())
        return
    print(f"{name}: {word}" if changed else f"{name}: was {'paused already' if word == 'paused' else 'not paused'}")
