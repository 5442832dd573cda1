"""Payloads of three sizes, echoed back and kept as results: the time per byte must not grow with the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import load, site
from benchmarks.bench import Bench, say
from benchmarks.figures import Figure
from benchmarks.reference import Loop

if TYPE_CHECKING:
    from benchmarks.site import Place

NAME = "payloads"
SIZES = {"1 KiB": 2**10, "100 KiB": 100 * 2**10, "10 MiB": 10 * 2**20}
CONCURRENCY = 8
_FEWEST, _MOST = 8, 20_000
_RETENTION = 3600
SERIAL = f"serial loop, batches of {CONCURRENCY}"


def measure(bench: Bench) -> list[Figure]:
    """Each round sends each size through the serial loop and through the worker."""
    place = bench.place("payloads")
    rounds = max(2, bench.amounts.rounds // 2 + 1)
    worker: dict[str, list[float]] = {size: [] for size in SIZES}
    serial: dict[str, list[float]] = {size: [] for size in SIZES}
    for number in range(rounds):
        for size, length in SIZES.items():
            count = max(_FEWEST, min(_MOST, bench.amounts.payload_bytes // length))
            serial[size].append(through_loop(bench, place, length, count))
            with site.worker(place, CONCURRENCY) as daemon:
                worker[size].append(through_worker(bench, daemon.pid, place, length, count))
        told = ", ".join(f"{size}: {worker[size][-1]:.1f} (loop {serial[size][-1]:.1f})" for size in SIZES)
        say(f"payloads, round {number + 1} of {rounds}, MB/s: {told}")
    return [
        Figure(NAME, f"payloads of {size}, there and back", "MB/s", worker[size], serial[size], SERIAL)
        for size in SIZES
    ]


def payload_of(length: int) -> bytes:
    """A JSON document of so many bytes."""
    return b'{"data":"%b"}' % (b"0123456789abcdef" * (length // 16 + 1))[: length - 11]


def through_worker(bench: Bench, daemon: int, place: Place, length: int, count: int) -> float:
    """MB/s of payload that a running worker takes to the task code and back into Redis."""
    payload = _stage(bench, place, length, count)
    rate = bench.spent(daemon, place.queues, count).rate
    _check_kept(bench, place, payload, count)
    return rate * length / 1e6


def through_loop(bench: Bench, place: Place, length: int, count: int) -> float:
    """MB/s of the serial loop, in the same batches as the worker has tasks in hand."""
    payload = _stage(bench, place, length, count)
    queue = place.queues[0]
    load.release(bench.client, [queue])
    loop = Loop(bench.client, queue, place.child_command(), keep=True)
    rate = loop.run(count, batch=CONCURRENCY, at_once=CONCURRENCY)
    _check_kept(bench, place, payload, count)
    return rate * length / 1e6


def _stage(bench: Bench, place: Place, length: int, count: int) -> bytes:
    bench.empty()
    payload = payload_of(length)
    load.stage(bench.client, place.queues[0], count, payload, retention=_RETENTION)
    return payload


def _check_kept(bench: Bench, place: Place, payload: bytes, count: int) -> None:
    """The figure is about results that were written whole."""
    start = load.prefix(place.queues[0])
    kept: Any = bench.client.zrange(f"{start}completed", 0, -1)
    result: Any = bench.client.hget(f"{start}t:{kept[0].decode()}", "result")
    if len(kept) != count or result.replace(b'": "', b'":"') != payload:
        raise RuntimeError(f"{len(kept)} of {count} results were kept; one has {len(result)} bytes, not {len(payload)}")
