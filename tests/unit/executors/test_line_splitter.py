"""Lines from chunks: the same whatever the chunks, bounded in memory, joined once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.executors.lines import HEAD, Cut, LineSplitter


def split(chunks: list[bytes], limit: int = 10**9) -> list[bytes]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.finish()


@given(data=st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"x\ny"]), max_size=60), cuts=st.data())
def test_lines_do_not_depend_on_the_chunks(data: list[bytes], cuts: st.DataObject) -> None:
    whole = b"".join(data)
    places = sorted(cuts.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    chunks = [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert split(chunks) == expected


@given(lengths=st.lists(st.integers(0, 40), max_size=20), limit=st.integers(1, 20), size=st.integers(1, 50))
def test_only_lines_over_the_limit_are_cut(lengths: list[int], limit: int, size: int) -> None:
    whole = b"".join(b"x" * length + b"\n" for length in lengths)
    lines = split([whole[start : start + size] for start in range(0, len(whole), size)], limit)
    assert [isinstance(line, Cut) for line in lines] == [length > limit for length in lengths]
    assert [len(line) for line in lines if not isinstance(line, Cut)] == [n for n in lengths if n <= limit]


def test_cut_comes_as_soon_as_the_limit_is_passed_and_the_rest_is_skipped() -> None:
    splitter = LineSplitter(100_000)
    assert splitter.feed(b"y" * 100_000) == []
    (cut,) = splitter.feed(b"y")
    assert isinstance(cut, Cut)
    assert cut == b"y" * HEAD
    assert splitter.skipping
    for _ in range(100):
        assert splitter.feed(b"y" * 100_000) == []
        assert splitter._chunks == []
    assert splitter.feed(b"y\nnext\n") == [b"next"]
    assert not splitter.skipping


def test_end_of_the_stream_ends_the_last_line() -> None:
    splitter = LineSplitter(100)
    assert splitter.feed(b"a\nb") == [b"a"]
    assert splitter.finish() == [b"b"]
    assert splitter.finish() == []


def test_line_of_many_chunks_is_kept_as_chunks_and_joined_once() -> None:
    splitter = LineSplitter(64 * 1024 * 1024)
    chunk = b"z" * 65536
    for number in range(160):
        assert splitter.feed(chunk) == []
        assert len(splitter._chunks) == number + 1
    assert splitter.feed(b"\n") == [b"z" * 65536 * 160]


def test_what_is_left_of_a_cut_line_is_never_longer_than_the_limit() -> None:
    (cut,) = LineSplitter(10).feed(b"z" * 11)
    assert cut == b"z" * 10
