"""Reads one YAML file into assignments, keeping the line of each.

Values are taken as the text that was written: YAML's own guesses (`no` as false, `3.10` as a number, `0755` as
octal) never apply.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import yaml

from runqy_worker.config.catalog import SECTIONS, SETTINGS
from runqy_worker.config.interpolation import MalformedReferenceError, UndefinedVariableError, interpolate
from runqy_worker.config.masking import quoted
from runqy_worker.config.suggestions import nearest_key, nearest_top
from runqy_worker.config.values import Assignment, assign, expectation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runqy_worker.config.catalog import Entry
    from runqy_worker.config.report import Report

_STANDARD = "tag:yaml.org,2002:"
_NULL = _STANDARD + "null"
_MERGE = _STANDARD + "merge"


def read_yaml(
    path: Path, environ: Mapping[str, str], report: Report, *, check_files: bool = True
) -> dict[str, Assignment]:
    """The settings that a file gives, by dotted key. A key without a value counts as not given.

    Args:
        path: The file.
        environ: For `${NAME}`.
        report: Gets what is wrong.
        check_files: Whether to warn when the file holds secrets and everyone may read it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        report.broken(str(path), f"cannot be read: {error.strerror}; expected a YAML file")
        return {}
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.broken(f"{path}:{line}", f"byte 0x{data[error.start]:02x} is not UTF-8; expected UTF-8 text")
        return {}
    reader = _Reader(path, environ, report)
    layer = reader.read(text)
    if check_files and reader.holds_secret and os.stat(path).st_mode & stat.S_IROTH:  # noqa: PTH116 - one flag
        report.warn(str(path), "holds a secret and every user of this host may read it; make its mode 0640")
    return layer


class _Reader:
    """Walks the nodes of one file."""

    def __init__(self, path: Path, environ: Mapping[str, str], report: Report) -> None:
        self._path = path
        self._environ = environ
        self._report = report
        self._layer: dict[str, Assignment] = {}
        self.holds_secret = False

    def read(self, text: str) -> dict[str, Assignment]:
        try:
            loader = yaml.SafeLoader(text)
            root = loader.get_single_node()
            if root is not None and not _is_null(root):
                self._top(loader, root)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self._report.broken(f"{self._path}:{line}", f"the character U+{error.character:04X} is not allowed in YAML")
        except RecursionError:
            self._report.broken(str(self._path), "is nested too deeply; expected sections with settings")
        return self._layer

    def _top(self, loader: yaml.SafeLoader, root: yaml.Node) -> None:
        if not isinstance(root, yaml.MappingNode):
            self._report.broken(
                self._where(root), f"found {_what(root)} at the top, expected sections such as `worker:`"
            )
            return
        for name, key_node, node in self._pairs(loader, root, ""):
            if name not in SECTIONS:
                meant = nearest_top(name) or ""
                advice = f"did you mean {meant}?" if meant else f"known sections: {', '.join(SECTIONS)}"
                self._report.unknown(self._where(key_node), f"the section {name}", advice, meant)
            elif isinstance(node, yaml.MappingNode):
                self._section(loader, name, node)
            elif not _is_null(node):
                self._report.not_a_section(self._where(node), name, _shown(node))

    def _section(self, loader: yaml.SafeLoader, section: str, node: yaml.MappingNode) -> None:
        for name, key_node, value_node in self._pairs(loader, node, f"{section}."):
            entry = SETTINGS.get(f"{section}.{name}")
            if entry is not None:
                self._setting(entry, value_node)
                continue
            meant = nearest_key(section, name) or ""
            known = ", ".join(known.name for known in SETTINGS.values() if known.section == section)
            advice = f"did you mean {meant}?" if meant else f"known keys of {section}: {known}"
            self._report.unknown(self._where(key_node), f"the key {section}.{name}", advice, meant)

    def _setting(self, entry: Entry, node: yaml.Node) -> None:
        if _is_null(node):
            return
        if isinstance(node, yaml.SequenceNode) and entry.setting.kind == "list":
            self._list(entry, node)
            return
        text = self._text(entry, node)
        if text is None:
            return
        found = assign(entry, text, self._where(node), self._report)
        if found is not None:
            self._layer[entry.key] = found

    def _list(self, entry: Entry, node: yaml.SequenceNode) -> None:
        texts = [(self._text(entry, item, "a text as item of the list"), self._where(item)) for item in node.value]
        kept = [(text, where) for text, where in texts if text is not None]
        if len(kept) == len(texts):
            self._layer[entry.key] = Assignment(
                tuple(text for text, _ in kept), self._where(node), tuple(where for _, where in kept)
            )

    def _text(self, entry: Entry, node: yaml.Node, expected: str = "") -> str | None:
        where, secret = self._where(node), entry.setting.secret
        if not isinstance(node, yaml.ScalarNode) or _is_null(node) or not node.tag.startswith(_STANDARD):
            self._report.wrong(where, entry.key, _shown(node, secret=secret), expected or expectation(entry.setting))
            return None
        try:
            text = interpolate(node.value, self._environ)
        except UndefinedVariableError as error:
            self._report.undefined(where, entry.key, error.reference, error.name)
            return None
        except MalformedReferenceError as error:
            expected = "a reference like ${NAME} or ${NAME:-default}; write $${ for a literal ${"
            self._report.wrong(where, entry.key, quoted(str(error), secret=secret), expected)
            return None
        self.holds_secret |= secret and bool(text) and text == node.value
        return text

    def _pairs(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, prefix: str
    ) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Name, key node and value node of each pair, with merges (`<<`) resolved and repeated keys reported."""
        first: dict[str, int] = {}
        repeats: dict[int, int] = {}
        for key_node, _ in node.value:
            name = str(key_node.value)
            if key_node.tag != _MERGE and name in first:
                repeats[id(key_node)] = first[name]
            first.setdefault(name, _line(key_node))
        loader.flatten_mapping(node)
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report.wrong(self._where(key_node), prefix + "?", f"{_what(key_node)} as a key", "a name")
                continue
            if id(key_node) in repeats:
                self._report.repeated(self._where(key_node), prefix + key_node.value, repeats[id(key_node)])
            yield key_node.value, key_node, value_node

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = error.problem or error.context or "not YAML"
        if "'\\t'" in problem:
            problem = "a tab is used for indentation; expected spaces"
        self._report.broken(f"{self._path}:{line}:{column}", f"not valid YAML: {problem}")

    def _where(self, node: yaml.Node) -> str:
        return f"{self._path}:{_line(node)}"


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def _what(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a text"


def _shown(node: yaml.Node, *, secret: bool = False) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return _what(node)
    if _is_null(node):
        return "nothing"
    text = quoted(node.value, secret=secret)
    return text if node.tag.startswith(_STANDARD) else f"the tag {node.tag}"
