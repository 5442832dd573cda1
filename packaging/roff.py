"""Writes man(7) pages: the few requests that one needs, and what must be escaped."""

from __future__ import annotations

import re
import textwrap

WIDTH = 78
"""Columns of a source line; formatters complain of more than 80."""

_SPECIAL = str.maketrans({"\\": r"\(rs", "-": r"\-", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})
_QUOTES = str.maketrans({"'": r"\(aq", '"': r"\(dq"})
_MARKED = re.compile(r"`([^`]+)`|(?<![\w-])(--?[a-z][\w-]*)")


def plain(text: str) -> str:
    """Text that appears as it is. Every hyphen is one that can be copied to a shell."""
    return text.translate(_SPECIAL)


def bold(text: str) -> str:
    """What is typed as it stands; its words are not broken."""
    return rf"\fB{_whole(text)}\fR"


def italic(text: str) -> str:
    """What stands for something else; its words are not broken."""
    return rf"\fI{_whole(text)}\fR"


def _whole(text: str) -> str:
    return " ".join(rf"\%{word}" for word in plain(text).translate(_QUOTES).split(" "))


def marked(text: str) -> str:
    """Prose in which what stands between backticks, and options, are typed."""
    shown, end = [], 0
    for found in _MARKED.finditer(text):
        shown += [plain(text[end : found.start()]), bold(found[1] or found[2])]
        end = found.end()
    return "".join((*shown, plain(text[end:])))


class Page:
    """One page, written from its top to its end.

    Args:
        name: Of the program.
        date: Of the page: `2026-01-31`.
        source: Which version of what.
        manual: The manual that it belongs to.
    """

    def __init__(self, name: str, *, date: str, source: str, manual: str) -> None:
        # The date as it is: mandoc reads it before it looks at escapes.
        title = " ".join(f'"{part}"' for part in (plain(name.upper()), "1", date, plain(source), plain(manual)))
        self._lines = [f".TH {title}", ".ad l"]
        self._fresh = True

    def section(self, title: str) -> None:
        """Begin a section."""
        self._begin(f'.SH "{plain(title)}"')

    def subsection(self, title: str) -> None:
        """Begin a section within one."""
        self._begin(f'.SS "{plain(title)}"')

    def paragraph(self, text: str) -> None:
        """Add prose that `marked` has made, or the like."""
        if not self._fresh:
            self._lines.append(".PP")
        self._fill(text)

    def item(self, tag: str, text: str) -> None:
        """Add something and, indented below it, what it is."""
        self._lines += [".TP", tag]
        self._fill(text)

    def lines(self, lines: list[str]) -> None:
        """Add lines that stay lines, and wrap with an indentation where they are long."""
        if not self._fresh:
            self._lines.append(".PP")
        for number, line in enumerate(lines):
            if number:
                self._lines.append(".br")
            self._fill(line)

    def example(self, text: str) -> None:
        """Add text that is shown as it stands, indented."""
        shown = textwrap.dedent(text).strip("\n").splitlines()
        self._lines += ["" if self._fresh else ".PP", ".RS 4", ".EX"]
        self._lines += [_guarded(plain(line.rstrip()).translate(_QUOTES)) for line in shown]
        self._lines += [".EE", ".RE"]
        self._fresh = False

    def text(self) -> str:
        """The page."""
        return "\n".join(line for line in self._lines if line) + "\n"

    def _begin(self, line: str) -> None:
        self._lines.append(line)
        self._fresh = True

    def _fill(self, text: str) -> None:
        words = " ".join(text.split())
        wrapped = textwrap.wrap(words, WIDTH, break_on_hyphens=False, break_long_words=False)
        self._lines += [_guarded(line) for line in wrapped]
        self._fresh = False


def _guarded(line: str) -> str:
    """A line that no formatter takes for a request; an empty one is kept as such."""
    if not line:
        return r"\&"
    return rf"\&{line}" if line[0] in ".'" else line
