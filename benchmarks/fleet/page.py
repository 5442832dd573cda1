"""`python -m benchmarks.fleet.page`: write the measured figures into docs/scaling.md, between its markers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fleet import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scaling.md"
RESULTS = ROOT / "benchmarks" / "results" / "fleet-2-cores.json"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def render(page: str, results: Mapping[str, Any]) -> str:
    """The page with every block of figures written anew.

    Raises:
        KeyError: The page names a block that `tables` does not have, or the results lack its scenario.
    """

    def block(found: re.Match[str]) -> str:
        lines = tables.BLOCKS[found[2]](results)
        return found[1] + "\n".join(["", *lines, "", ""]) + found[3]

    return _BLOCK.sub(block, page)


def main() -> None:
    """Write the page."""
    results = json.loads(RESULTS.read_text())
    PAGE.write_text(render(PAGE.read_text(), results))


if __name__ == "__main__":
    main()
