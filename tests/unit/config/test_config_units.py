from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.config.units import format_duration, format_size, parse_bool, parse_duration, parse_size

NANOSECONDS = st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("7d", 604800),
        ("1d12h", 129600),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250μs", 0.00025),
        ("1ns", 1e-9),
        ("-1m", -60),
        ("+1m", 60),
        ("0", 0),
        ("45", 45),
        ("1.5", 1.5),
        (" 30s ", 30),
        ("2562047h47m16.854775807s", (2**63 - 1) / 1e9),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", ".", ".s", "30 s", "30sec", "1h 30m", "5min", "1,5s", "--1s", "1e3", "s30", "30S", "٣s", "1:30"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_duration(text)


@pytest.mark.parametrize("text", ["2562048h", "9" * 30, "9" * 5000])
def test_a_duration_that_go_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (30, "30s"),
        (600, "10m"),
        (3600, "1h"),
        (5400, "1h30m"),
        (3661.5, "1h1m1.5s"),
        (0.5, "500ms"),
        (0.0001, "100us"),
        (2e-9, "2ns"),
        (60.5, "1m0.5s"),
        (-90, "-1m30s"),
    ],
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(NANOSECONDS)
def test_a_written_duration_is_read_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 10**9
    if abs(seconds) <= 2**63 / 10**9 - 1:
        assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    whole = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
    assert parse_duration(f"{hours}h{minutes}m{seconds}s{milliseconds}ms") == whole / 1000


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 * 1024**2),
        ("10MB", 10_000_000),
        ("1G", 1024**3),
        ("1Gi", 1024**3),
        ("1GB", 1000**3),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("1024", 1024),
        ("512B", 512),
        ("0", 0),
        ("64 mib", 64 * 1024**2),
        ("2TiB", 2 * 1024**4),
        ("1PB", 1000**5),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", ".", "-1", "1XB", "1 2", "1e3", "10,5MB", "9999999PB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|missing"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1500, "1500"), (2000, "2KB"), (64 * 1024**2, "64MiB"), (10**7, "10MB"), (1, "1")]
)
def test_sizes_are_written_short(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 2**63 - 1))
def test_a_written_size_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**6), st.sampled_from(["KiB", "MiB", "GiB", "KB", "MB", "GB", "K", "M", "G"]))
def test_round_sizes_survive(count: int, unit: str) -> None:
    assert parse_size(format_size(parse_size(f"{count}{unit}"))) == parse_size(f"{count}{unit}")


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "t", "1", "yes", "y", "on", "ON", " true "])
def test_true_in_go_and_yaml(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["false", "False", "f", "0", "no", "N", "off"])
def test_false_in_go_and_yaml(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "2", "maybe", "truee"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a truth value"):
        parse_bool(text)
