"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much it matters."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: How much it matters.
        found: One sentence; never shows a secret.
        advice: What to do about it; empty when there is nothing to do.
    """

    level: Level
    found: str
    advice: str = ""


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, found)


def note(found: str, advice: str = "") -> Finding:
    """Worth knowing."""
    return Finding(Level.NOTE, found, advice)


def warning(found: str, advice: str) -> Finding:
    """It works, but not well, or not for long."""
    return Finding(Level.WARNING, found, advice)


def problem(found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(Level.PROBLEM, found, advice)
