"""Queue names. Opaque below the config layer; the rules for parents and sub-queues live here.

A parent queue has sub-queues `parent.sub`; older documents write `parent:sub`. Only the first separator splits.
A name without a separator, used as a queue to enqueue to, means the sub-queue `default`
(the runqy server's rule).
"""

from __future__ import annotations

import re

DEFAULT_SUB_QUEUE = "default"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:-]{0,127}\Z")
_SEPARATOR = re.compile(r"[.:]")


def is_valid(name: str) -> bool:
    """Whether the runqy server would accept the name (`:` is accepted beside `.`)."""
    return _NAME.match(name) is not None


def parent_of(name: str) -> str:
    """The parent queue: what stands before the first `.` or `:`."""
    return _SEPARATOR.split(name, maxsplit=1)[0]


def is_parent(name: str) -> bool:
    """Whether the name stands for all sub-queues of a parent."""
    return _SEPARATOR.search(name) is None


def enqueue_target(name: str) -> str:
    """The full name of the queue that `name` means to who enqueues: `a` is `a.default`, and `a:b` is `a.b`."""
    return f"{name}.{DEFAULT_SUB_QUEUE}" if is_parent(name) else _SEPARATOR.sub(".", name, count=1)
