"""docs/library.md does what it says: its blocks are executed, in order, by a program of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.worker_site import ECHO

if TYPE_CHECKING:
    from support.library_site import Library

PAGE = Path(__file__).parents[3] / "docs" / "library.md"
STOP_WHEN_DONE = """\
import threading, time
def stop_when_ready():
    while not (worker.lanes[0].ready and worker.counts.totals().completed):
        time.sleep(0.01)
    worker.request_stop()
stopper = threading.Thread(target=stop_when_ready)
"""


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_every_block_of_the_page_runs(library: Library, tmp_path: Path) -> None:
    library.queue("jobs", {"main.py": ECHO})
    library.write()
    first, *others = blocks()
    assert len(others) == 3
    first = first.replace("worker.bootstrap()", f"{STOP_WHEN_DONE}stopper.start()\nworker.bootstrap()")
    (task,) = library.enqueue("jobs.default", 1)
    script = tmp_path / "page.py"
    script.write_text("\n".join([first, "stopper.join()", *others, "print('all blocks ran')"]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", str(script)],
        cwd=library.directory,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "all blocks ran\n"), done.stderr
    assert library.task(task).state == "completed"
