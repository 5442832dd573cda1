"""The Lua scripts, loaded from their files once and called by their digest.

A line `--include NAME` in one stands for the functions in `lua/NAME.lua`.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Arg: TypeAlias = str | bytes | int | float

_SOURCES: dict[str, bytes] = {}
_INCLUDE = re.compile(rb"^--include (\w+)\n", re.MULTILINE)


class Script:
    """One script. Make it with `load`.

    Attributes:
        name: The file's name without `.lua`.
        sha: What Redis knows it by.
    """

    __slots__ = ("name", "sha")

    def __init__(self, name: str, source: bytes) -> None:
        self.name = name
        self.sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()
        _SOURCES[self.sha] = source

    def command(self, keys: Iterable[str], args: Iterable[Arg] = ()) -> tuple[Arg, ...]:
        """The call, for `Link.call` or `Link.pipeline`, which load the script when Redis does not have it."""
        keys = tuple(keys)
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def __repr__(self) -> str:
        return f"<Script {self.name} {self.sha[:8]}>"


@cache
def load(name: str) -> Script:
    """The script in `lua/<name>.lua`."""
    return Script(name, _INCLUDE.sub(lambda line: _text(line[1].decode()), _text(name)))


def source_of(sha: str) -> bytes:
    """The text of a script that was loaded here."""
    return _SOURCES[sha]


def _text(name: str) -> bytes:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
