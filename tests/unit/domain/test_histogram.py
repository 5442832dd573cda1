"""Values counted by size."""

from __future__ import annotations

from runqy_worker.domain.histogram import Histogram


def test_a_value_counts_in_the_first_bucket_that_it_does_not_exceed() -> None:
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11, 1000):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == 1023.5


def test_a_copy_stays_as_it_is() -> None:
    histogram = Histogram((1,))
    histogram.add(0.5)
    copy = histogram.copy()
    histogram.add(0.5)
    assert (copy.counts, copy.sum) == ([1, 0], 0.5)
