"""A logger of its own, and the records that it got."""

from __future__ import annotations

import itertools
import logging

_numbers = itertools.count()


class _Keep(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


class Captured:
    """Everything that was logged to `logger`."""

    def __init__(self) -> None:
        self.logger = logging.getLogger(f"captured.{next(_numbers)}")
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.records: list[logging.LogRecord] = []
        self.logger.addHandler(_Keep(self.records))

    @property
    def lines(self) -> list[str]:
        """`LEVEL message` of each record."""
        return [f"{record.levelname} {record.getMessage()}" for record in self.records]

    @property
    def actions(self) -> list[str]:
        """The action of each record."""
        return [str(record.__dict__["action"]) for record in self.records]
