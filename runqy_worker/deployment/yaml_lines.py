"""YAML read with every scalar kept as the text that was written, and the line that it stands on.

Keeping the text means that `version: 3.10` stays "3.10" and `debug: yes` stays "yes" where text is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class Text(str):
    """A scalar as written.

    Attributes:
        line: Where it stands, from 1.
        quoted: It was written in quotes, so it can only be text.
        null: It was left empty or written as null.
    """

    __slots__ = ("line", "null", "quoted")
    line: int
    quoted: bool
    null: bool


class Mapping(dict[str, Any]):
    """A mapping, with the line where it starts and the lines of its keys."""

    line: int = 0
    lines: dict[str, int]


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[int, str]] = []


def _scalar(_loader: _Loader, node: yaml.ScalarNode) -> Text:
    text = Text(node.value)
    text.line = node.start_mark.line + 1
    text.quoted = node.style is not None
    text.null = node.tag == "tag:yaml.org,2002:null"
    return text


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(item, deep=True) for item in node.value]


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
            loader.duplicates.append((key.start_mark.line + 1, str(key.value)))
        seen.add(str(key.value))
    loader.flatten_mapping(node)
    found = Mapping()
    found.line = node.start_mark.line + 1
    found.lines = {}
    for key, value in node.value:
        name = str(key.value)
        found[name] = loader.construct_object(value, deep=True)
        found.lines[name] = key.start_mark.line + 1
    return found


for _tag in ("null", "bool", "int", "float", "timestamp", "str", "binary"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _scalar)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _sequence)


def read(path: Path) -> Any:
    """The document in `path`: `Mapping`, list, `Text`, or None for an empty file.

    Raises:
        ConfigError: It can't be read, is no YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError((f"{path}: can't be read: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}",)) from error
    loader = _Loader(text)
    try:
        document = loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError((f"{path}{line}: is not valid YAML: {problem}",)) from error
    finally:
        loader.dispose()
    if loader.duplicates:
        problems = tuple(f"{path}:{line}: the key {key!r} stands here again" for line, key in loader.duplicates)
        raise ConfigError(problems)
    return document
