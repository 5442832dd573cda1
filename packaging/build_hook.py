"""What is put into a wheel beside the package's own files: which build it is, the man page, shell completions.

All of it depends on the commit and the sources only, so two builds of one commit are alike to the last bit.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GENERATED = "runqy_worker/_build.py"
"""See `runqy_worker.service.build`."""
FOR_HOSTS = {"systemd": "runqy_worker/systemd", "requirements/package.txt": "runqy_worker/requirements.txt"}
"""What puts a wheel on a host: the units (`runqy-worker instance add` looks there, too), and its dependencies' pins."""
MAN_PAGE = "share/man/man1/runqy-worker.1"


class BuildHook(BuildHookInterface[Any]):
    """Called by hatchling for each wheel and source distribution; an editable install reads the checkout instead."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files and name them in `build_data`."""
        if version == "editable":
            return
        root, made = Path(self.root), Path(self.root, "build", "generated")
        sys.path[:0] = [str(root), str(root / "packaging")]
        if not (root / GENERATED).exists():  # it comes with a source distribution, which has no commit to ask
            build_data["force_include"][str(write(made / GENERATED, build_module()))] = GENERATED
        if self.target_name == "wheel":
            build_data["force_include"].update({str(root / place): inside for place, inside in FOR_HOSTS.items()})
            for place, text in shared_files().items():
                build_data["shared_data"][str(write(made / place, text))] = place


def build_module() -> str:
    """The source of the module that says which build this is."""
    from runqy_worker.service.build import build_info  # noqa: PLC0415 - found only once the checkout is on the path

    info = build_info()
    return f'"""Which build this is."""\n\nCOMMIT = "{info.commit}"\nDATE = "{source_date() or info.date}"\n'


def source_date() -> str:
    """The moment that SOURCE_DATE_EPOCH names, ISO 8601; empty when it is not set."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).isoformat() if seconds else ""


def shared_files() -> dict[str, str]:
    """What is installed beside the package, by its path below the prefix."""
    import completions  # noqa: PLC0415 - as above
    import man_page  # noqa: PLC0415 - as above

    page = man_page.render(man_page.date_of_build(source_date()))
    return {MAN_PAGE: page, **{place: completions.render(shell) for shell, place in completions.PLACES.items()}}


def write(path: Path, text: str) -> Path:
    """Write a file and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
