"""Compare ratios with the committed ones: has a change made the worker slower?

Only ratios are looked at (worker to reference loop, large to small), measured side by side in short interleaved rounds,
so that the machine's speed does not matter. Rounds go on until each verdict is clear, or their limit is reached.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cpu, latency, load, payloads, results_file, site, throughput
from benchmarks.bench import QUICK, opened, say
from benchmarks.figures import quantile
from benchmarks.judging import LOSS, Rounds, Verdict, judge_all, table
from benchmarks.reference import BATCH
from benchmarks.spawning import spawn_rate

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.bench import Bench, Spent
    from benchmarks.judging import Judgement
    from benchmarks.site import Place
    from benchmarks.throughput import LoopSpent

NAME = "check"
COMMITTED = Path(__file__).with_name("results") / "2-cores.json"
FEWEST_ROUNDS, MOST_ROUNDS, BASELINE_ROUNDS = 5, 15, 11
TASKS, FEW_TASKS, MANY_TASKS, ONCE_TASKS = 10_000, 4_000, 50_000, 24
SAMPLES = 60
DISTURBED = 0.15
"""Share of the CPU beyond which others disturb a round: the worker uses more than one core, the loops hardly do."""
PAYLOAD_BYTES = 8 * 2**20
SMALL_PAYLOAD, LARGE_PAYLOAD = 64 * 2**10, 4 * 2**20
QUEUES = 100
BARE_QUEUE, LOOPS_QUEUE = "check-bare.default", "check-loops.default"


class Crew:
    """The workers that are measured, all running all the time, each on a queue of its own; they idle in turns.

    Args:
        bench: Where.
        stack: Ends them.
    """

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        self._bench = bench
        self._cores = len(os.sched_getaffinity(0))
        self._places: dict[str, Place] = {}
        self._pids: dict[str, int] = {}
        subs = {"wide": [f"sub-{n:02}" for n in range(QUEUES)]}
        for name, concurrency in {"c1": 1, "c8": 8, "c32": 32, "wide": 32, "once": self._cores}.items():
            mode = site.ONE_SHOT if name == "once" else site.LONG_RUNNING
            place = site.prepare(bench.directory, bench.addr, f"check-{name}", mode=mode, subs=subs.get(name, ()))
            self._places[name] = place
            self._pids[name] = stack.enter_context(site.worker(place, concurrency)).pid
        self._child_command = self._places["c1"].child_command()
        stack.enter_context(latency.bare_loop(bench, BARE_QUEUE, self._child_command))

    def round(self) -> dict[str, float]:
        """Each ratio once; larger is better."""
        serial, ping_pong = self._loop(BATCH, TASKS), self._loop(1, FEW_TASKS)
        one, eight, many = self._spent("c1", FEW_TASKS), self._spent("c8", TASKS), self._spent("c32", TASKS)
        large, wide = self._spent("c32", MANY_TASKS), self._spent("wide", TASKS)
        return {
            "throughput, concurrency 1 / ping-pong loop": one.rate / ping_pong.rate,
            "throughput, concurrency 8 / serial loop": eight.rate / serial.rate,
            "throughput, concurrency 32 / serial loop": many.rate / serial.rate,
            "CPU per task, ping-pong loop / concurrency 1": ping_pong.cpu / one.cpu,
            "CPU per task, serial loop / concurrency 8": serial.cpu / eight.cpu,
            "CPU per task, serial loop / concurrency 32": serial.cpu / many.cpu,
            "Redis commands, serial loop / concurrency 32": serial.commands / many.commands,
            f"throughput, {MANY_TASKS:,} pending / {TASKS:,}": large.rate / many.rate,
            f"throughput, {QUEUES} sub-queues / one": wide.rate / many.rate,
            "latency, bare loop / idle worker": self._latency(BARE_QUEUE) / self._latency(self._places["c1"].queues[0]),
            f"one-shot throughput / bare spawns, {self._cores} at once": self._one_shot() / self._spawns(),
            "payloads, MB/s, 4 MiB / 64 KiB": self._payload(LARGE_PAYLOAD) / self._payload(SMALL_PAYLOAD),
        }

    def _one_shot(self) -> float:
        return self._spent("once", ONCE_TASKS).rate

    def _spent(self, name: str, count: int) -> Spent:
        self._bench.empty()
        queues = self._places[name].queues
        for queue in queues:
            load.stage(self._bench.client, queue, count // len(queues))
        return self._bench.spent(self._pids[name], queues, count)

    def _loop(self, at_once: int, count: int) -> LoopSpent:
        return throughput.loop(self._bench, LOOPS_QUEUE, self._child_command, count, at_once=at_once)

    def _latency(self, queue: str) -> float:
        """Milliseconds, the median."""
        self._bench.empty()
        return quantile(latency.sample(self._bench, queue, SAMPLES, gap=latency.GAP), 0.5)

    def _spawns(self) -> float:
        return spawn_rate(self._places["once"].child_command(), ONCE_TASKS, self._cores)

    def _payload(self, length: int) -> float:
        count = max(8, PAYLOAD_BYTES // length)
        return payloads.through_worker(self._bench, self._pids["c8"], self._places["c8"], length, count)


def rounds(bench: Bench) -> Generator[tuple[dict[str, float], bool]]:
    """Rounds without end; each with whether the machine was ours meanwhile."""
    with ExitStack() as stack:
        crew = Crew(bench, stack)
        crew.round()  # to warm up
        while True:
            others = cpu.Others()
            ratios = crew.round()
            share = others.share()
            if share > DISTURBED:
                say(f"other programs, or the host, took {share:.0%} of the CPU: a disturbed round")
            yield ratios, share <= DISTURBED


def baseline(bench: Bench) -> dict[str, list[float]]:
    """What is committed: each ratio in each of `BASELINE_ROUNDS`, undisturbed ones if that many can be had."""
    ratios = Rounds()
    with closing(rounds(bench)) as more:
        for number in range(1, 2 * BASELINE_ROUNDS + 1):
            ratios.add(*next(more))
            say(f"check, round {number}, {ratios.quiet} of {BASELINE_ROUNDS} undisturbed")
            if ratios.quiet == BASELINE_ROUNDS:
                break
    return {name: ratios.best(name, BASELINE_ROUNDS) for name in ratios.names}


def compare(bench: Bench, committed: dict[str, list[float]], most_rounds: int) -> list[Judgement]:
    """Measure until each verdict is clear, or the rounds are used up."""
    ratios = Rounds()
    judgements: list[Judgement] = []
    with closing(rounds(bench)) as more:
        for number in range(1, most_rounds + 1):
            ratios.add(*next(more))
            judgements = judge_all(committed, ratios, final=number == most_rounds)
            unclear = sum(one.verdict is Verdict.UNCLEAR for one in judgements)
            say(f"round {number}: {unclear} of {len(judgements)} ratios are not clear yet")
            if number >= FEWEST_ROUNDS and not unclear:
                break
    return judgements


def main() -> int:
    """Compare, and say what came out. Returns the exit status: 1 when a ratio was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--against", type=Path, default=COMMITTED, help="results to compare with")
    parser.add_argument("--most-rounds", type=int, default=MOST_ROUNDS, help="when to stop in any case")
    args = parser.parse_args()
    committed = results_file.read(args.against)
    cores = committed.machine["cores"]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # ratios depend on how many cores there are
    if len(os.sched_getaffinity(0)) < cores:
        say(f"{args.against} was measured with {cores} cores; there are fewer here, so expect other ratios")
    with opened(QUICK) as bench:
        judgements = compare(bench, committed.check, args.most_rounds)
    print(table(judgements))
    counts = {verdict: sum(one.verdict is verdict for one in judgements) for verdict in Verdict}
    lost, unclear = counts[Verdict.LOST], counts[Verdict.UNCLEAR]
    print(f"\n{lost} of {len(judgements)} ratios lost more than {LOSS:.0%}.")
    if unclear:
        print(f"{unclear} are unclear: the machine was too busy with other things. No failure, but run it again.")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
