"""How an attempt ended, as an executor reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(slots=True)
class Completed:
    """The attempt succeeded.

    Attributes:
        result: Raw JSON bytes as the task code wrote them; None when it gave none.
    """

    result: bytes | None = None


@dataclass(slots=True)
class Failed:
    """The attempt failed.

    Attributes:
        error: Text for the person who looks at the task; never contains secrets.
        retryable: False archives the task whatever retries are left.
        death: The process died and this task is known to be the cause.
    """

    error: str
    retryable: bool = True
    death: bool = False


@dataclass(slots=True)
class Revoked:
    """The task is to be dropped: neither kept nor counted as failed."""


@dataclass(slots=True)
class Released:
    """The task did not run to an end through no fault of its own: give it back, uncharged.

    Attributes:
        begun: It may have run in part, so running it again counts towards the limit of involuntary re-runs.
        reason: Why, for the log.
    """

    begun: bool = False
    reason: str = ""


Outcome: TypeAlias = Completed | Failed | Revoked | Released
