"""The files of an instance, as they are first written: with comments, for whoever edits them later."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/+@-]*(:[A-Za-z0-9._/+@-]+)*\Z", re.ASCII)
_NULL = frozenset(("null", "Null", "NULL"))

MAIN = """\
# What all worker instances of this host share. Each has a file of its own beside this one, in instances/,
# which is laid over it.
#
# All settings:  runqy-worker config show
# Check:         runqy-worker validate --partial --config {main}
#
# server:
#   url: https://runqy.example.com
"""

_SETTINGS = """\
# The worker instance {name}: what differs from {main}.
# Made by `runqy-worker instance add`; edit it as you like.
#
# What is in force:  runqy-worker config show --origin --instance {name}{credentials}
# Check an edit:     runqy-worker validate --instance {name}{credentials}
# Use it:            systemctl restart {unit}     (running tasks may end first)
{secrets}
{body}
# More that is often set:
#
# worker:
#   shutdown_timeout: 30s       # how long running tasks may go on after a stop
# deployment:
#   python: 3.11                # interpreter for the task code
#   index_url: https://pypi.example.com/simple
# process:
#   max_rss: 8GiB               # replace the process when it holds more
# redis:
#   addr: redis.example.com:6379     # where the server's own answer does not do
"""

_VARIABLES = """\
# Environment of the worker instance {name} and of its task code: one NAME=value a line.
# Read when the instance starts:  systemctl restart {unit}
#
# No secrets: task code sees all of these but RUNQY_*. Secrets are credentials, in {store}.
#
# RUNQY_* variables win over the YAML files:
# RUNQY_LOG_LEVEL=debug
#
# For hosts behind a proxy:
# HTTPS_PROXY=http://proxy.example.com:3128
# NO_PROXY=localhost,127.0.0.1
"""

_CUDA = """
# The GPUs that task code may use, by UUID (nvidia-smi -L); all of them without the second line.
CUDA_DEVICE_ORDER=PCI_BUS_ID
{visible}
"""


def settings_text(
    name: str, unit: str, *, main: Path, values: Mapping[str, str], credentials: Mapping[str, Path]
) -> str:
    """The YAML file.

    Args:
        name: The instance.
        unit: Its unit.
        main: The main file.
        values: Dotted key -> value as text.
        credentials: Its secrets: name -> where it is.
    """
    secrets = "".join(f"# The credential {each} is in {path}.\n" for each, path in credentials.items())
    flags = "".join(f" --credential {each}" for each in credentials)
    body = "\n".join(_section(section, values) for section in SECTIONS if _of(section, values))
    return _SETTINGS.format(
        name=name, unit=unit, main=main, credentials=flags, secrets=f"#\n{secrets}" if secrets else "", body=body
    )


def variables_text(name: str, unit: str, store: Path, *, cuda: bool, gpus: Sequence[str]) -> str:
    """The file of environment variables."""
    text = _VARIABLES.format(name=name, unit=unit, store=store)
    if cuda:
        visible = f"CUDA_VISIBLE_DEVICES={','.join(gpus)}" if gpus else "# CUDA_VISIBLE_DEVICES=GPU-..."
        text += _CUDA.format(visible=visible)
    return text


def _of(section: str, values: Mapping[str, str]) -> dict[str, str]:
    return {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{section}.")}


def _section(section: str, values: Mapping[str, str]) -> str:
    lines = (f"  {name}: {_scalar(value)}\n" for name, value in _of(section, values).items())
    return f"{section}:\n{''.join(lines)}"


def _scalar(text: str) -> str:
    """Plain where YAML can't misread it, else in double quotes, whose escapes are JSON's."""
    if _PLAIN.match(text) and text not in _NULL:
        return text
    return json.dumps(text, ensure_ascii=False)
