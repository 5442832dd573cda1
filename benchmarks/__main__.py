"""Measure the worker, with reference loops beside it in the same run, and print a table."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from benchmarks import check, cpu, latency, memory, one_shot, payloads, results_file, scale, startup, table, throughput
from benchmarks.bench import FULL, QUICK, Bench, machine, opened, say

FAMILIES = {family.NAME: family for family in (throughput, latency, one_shot, payloads, scale, memory, startup)}


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=[*FAMILIES, check.NAME], default=[], help="these families; all when not given"
    )
    parser.add_argument("--quick", action="store_true", help="about a minute, with less of everything")
    parser.add_argument("--idle-workers", type=int, help="workers beside which latency is measured again")
    parser.add_argument("--rounds", type=int, help="interleaved repetitions, of which medians are shown")
    parser.add_argument("--json", type=Path, help="write everything there, each round's values too")
    args = parser.parse_args()
    amounts = QUICK if args.quick else FULL
    given = {"idle_workers": args.idle_workers, "rounds": args.rounds}
    amounts = dataclasses.replace(amounts, **{name: value for name, value in given.items() if value is not None})
    wanted = args.only or [*FAMILIES, *([] if args.quick else [check.NAME])]
    with opened(amounts) as bench:
        results = run(bench, wanted)
    print(table.text(results.figures))
    print(table.verdict(results.figures))
    if args.json:
        results_file.write(args.json, results)


def run(bench: Bench, wanted: list[str]) -> results_file.Results:
    """Measure these families, and what `bench-check` compares with if that is among them."""
    figures, others = [], cpu.Others()
    for name, family in FAMILIES.items():
        if name in wanted:
            say(f"== {name}")
            figures += family.measure(bench)
    ratios = check.baseline(bench) if check.NAME in wanted else {}
    circumstances = {**machine(bench.client), "others_cpu": others.share()}
    return results_file.Results(circumstances, dataclasses.asdict(bench.amounts), figures, ratios)


if __name__ == "__main__":
    main()
