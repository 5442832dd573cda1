"""`python -m chaos.summary DIR`: what the scenarios came to, as a table; with `--page`, written into a page.

DIR holds the accounts that the ledgers stored. A page shows the table between two marker lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

BEGIN = "<!-- accounts: written by `make chaos` -->"
END = "<!-- end of accounts -->"
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Show, store, and write what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accounts", type=Path, nargs="?", help="a directory of accounts; else the stored results")
    parser.add_argument("--seed", type=int, default=1, help="the seed of that run")
    parser.add_argument("--form", choices=("short", "long"), default="long", help="the forms of that run")
    parser.add_argument("--page", type=Path, help="store the accounts as results, and write the table into this page")
    args = parser.parse_args()
    results = collect(args.accounts, args.form, args.seed) if args.accounts else json.loads(RESULTS.read_text())
    if args.page:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        args.page.write_text(inserted(args.page.read_text(), render(results)))
    sys.stdout.write(render(results))


def collect(directory: Path, form: str, seed: int) -> dict[str, Any]:
    """The accounts of one run, with where it ran."""
    accounts = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    if not accounts:
        raise SystemExit(f"{directory} holds no accounts")
    return {
        "form": form,
        "seed": seed,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "accounts": [account for account in accounts if "scenario" in account],
        "day": next((account for account in accounts if "virtual hours" in account), {}),
    }


def render(results: dict[str, Any]) -> str:
    """The table, as Markdown."""
    accounts = results["accounts"]
    lines = [
        f"The {results['form']} forms, seed {results['seed']}; {results['machine']}.",
        "",
        "| scenario | tasks | injuries | lost | executed again, and why |",
        "|---|---|---|---|---|",
        *(_row(account) for account in accounts),
        _row(
            {
                "scenario": "**all**",
                "tried": sum(account["tried"] for account in accounts),
                "injuries": {"in all": sum(sum(account["injuries"].values()) for account in accounts)},
                "lost": sum(account["lost"] for account in accounts),
                "duplicates": dict(sum((Counter(account["duplicates"]) for account in accounts), Counter())),
            }
        ),
        "",
    ]
    figures = [(account["scenario"], account["figures"]) for account in accounts if account["figures"]]
    if figures:
        lines += ["| scenario | figure | measured |", "|---|---|---|"]
        lines += [
            f"| {scenario} | {name} | {value:,g} |" for scenario, values in figures for name, value in values.items()
        ]
        lines.append("")
    return "\n".join(lines + _day(results["day"]))


def _day(counts: dict[str, float]) -> list[str]:
    """What the walk through a day with time made fast came to."""
    if not counts:
        return []
    hours, enqueued, lost = counts["virtual hours"], counts["tasks enqueued"], counts["tasks lost"]
    again = {name.removeprefix("claimed again: "): count for name, count in counts.items() if "again: " in name}
    told = (
        f"A day in miniature, each step held against a model of the protocol: {hours:.1f} h of the clock in there, "
        f"{enqueued:,} tasks, {counts['claims']:,} claims, {counts['settlements written']:,} settlements, "
        f"{counts['injuries']:,} injuries; {lost} tasks lost."
    )
    return [
        told,
        "",
        "| claimed again because | tasks |",
        "|---|---|",
        *(f"| {reason} | {count:,} |" for reason, count in again.items()),
        "",
    ]


def inserted(page: str, table: str) -> str:
    """The page with this table between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def _row(account: dict[str, Any]) -> str:
    cells = (
        account["scenario"],
        f"{account['tried']:,}",
        _listed(account["injuries"]),
        str(account["lost"]),
        _listed(account["duplicates"]) or "none",
    )
    return f"| {' | '.join(cells)} |"


def _listed(counts: dict[str, int]) -> str:
    return "; ".join(f"{count:,} {what}" for what, count in counts.items())


if __name__ == "__main__":
    main()
