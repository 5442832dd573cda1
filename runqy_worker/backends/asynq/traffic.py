"""What a connection to Redis has seen: how long answers took, and what went wrong."""

from __future__ import annotations

from runqy_worker.domain.histogram import Histogram

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
"""Seconds that the buckets of round trips reach up to."""


class Traffic:
    """Counts of one connection, since the start.

    Attributes:
        round_trips: Seconds from sending commands until all their answers are here.
        connects: Connections made.
        failures: Connections not to be had, lost in the middle of an exchange, or given up for want of an answer.
        refusals: Error replies.
    """

    __slots__ = ("connects", "failures", "refusals", "round_trips")

    def __init__(self) -> None:
        self.round_trips = Histogram(BOUNDS)
        self.connects = 0
        self.failures = 0
        self.refusals = 0
