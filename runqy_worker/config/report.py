"""Collects everything that is wrong or doubtful, so that it can be told at once."""

from __future__ import annotations

from runqy_worker.config.catalog import SETTINGS


class Report:
    """The problems and warnings of one load.

    Attributes:
        problems: What makes the configuration unusable, one line each.
        warnings: What deserves attention but does not, likewise.
        bad: Dotted keys whose value is unknown because of a problem; checks between settings leave them out.
        meant: Dotted keys that were probably meant by unknown ones; they are not reported as missing too.
        halted: A whole file could not be read, so settings may look missing that are not.
    """

    def __init__(self, *, allow_unknown: bool = False, partial: bool = False) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.bad: set[str] = set()
        self.meant: set[str] = set()
        self.halted = False
        self._allow_unknown = allow_unknown
        self._partial = partial

    def wrong(self, where: str, key: str, found: str, expected: str) -> None:
        """A value can't be used. `found` is masked already where it must be."""
        self.problems.append(f"{where}: {key}: found {found}, expected {expected}")
        self.bad.add(key)

    def missing(self, where: str, key: str, expected: str) -> None:
        """A required setting has no value."""
        self.problems.append(f"{where}: {key}: missing, expected {expected}")

    def undefined(self, where: str, key: str, reference: str, name: str) -> None:
        """A text refers to a variable that is not set: only a warning for a part of a configuration."""
        message = (
            f"{where}: {key}: found {reference}, but the variable {name} is not set; "
            f"expected it in the environment, or a default: ${{{name}:-...}}"
        )
        (self.warnings if self._partial else self.problems).append(message)
        self.bad.add(key)

    def unknown(self, where: str, name: str, advice: str, meant: str = "") -> None:
        """A key, section or variable that does not exist.

        Args:
            where: File and line, or the variable.
            name: What was found there, with a word for what it is: `the key worker.quue`.
            advice: What to write instead.
            meant: Dotted key or section that was probably meant; it is then not reported as missing.
        """
        message = f"{where}: {name} is not known; {advice}"
        if self._allow_unknown:
            self.warnings.append(message)
        else:
            self.problems.append(message)
            self.meant |= _keys(meant)

    def repeated(self, where: str, key: str, first: int) -> None:
        """A key stands in a file twice; `first` is the line of the first time."""
        self.problems.append(f"{where}: {key}: found it again (first on line {first}), expected it once")

    def not_a_section(self, where: str, section: str, found: str) -> None:
        """A section is no mapping; what its settings should be is unknown."""
        self.wrong(where, section, found, "a section: lines of `key: value`")
        self.bad |= _keys(section)

    def broken(self, where: str, message: str) -> None:
        """A file can't be read as a whole."""
        self.problems.append(f"{where}: {message}")
        self.halted = True

    def warn(self, where: str, message: str) -> None:
        """Something that works, but that the operator should know."""
        self.warnings.append(f"{where}: {message}")


def _keys(key_or_section: str) -> set[str]:
    return {key for key in SETTINGS if key == key_or_section or key.startswith(f"{key_or_section}.")}
