"""The wire format: golden vectors, any order, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.backends.asynq.codec import (
    CodecError,
    TaskMessage,
    decode_headers,
    decode_message,
    encode_headers,
    encode_message,
    read_fields,
    read_varint,
    to_int32,
    to_int64,
    write_bytes,
    write_int,
    write_string,
    write_timestamp,
    write_varint,
)

if TYPE_CHECKING:
    import random

PLAIN = bytes.fromhex(
    "0a0a656d61696c3a73656e6412077b2261223a317d"
    "1a2431313131313131312d313131312d343131312d383131312d313131313131313131313131"
    "220764656661756c74281940880e"
)
FULL = bytes.fromhex(
    "0a0a656d61696c3a73656e6412077b2261223a317d"
    "1a2431313131313131312d313131312d343131312d383131312d313131313131313131313131"
    "220764656661756c74281930013a04626f6f6d40880e5880e2cfaa066080a3057a060a016b120176"
)
SERVER_INFO = bytes.fromhex("0a016810071a03683a3720042a0b0a0764656661756c7410033a0661637469766542060880e2cfaa06")

int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
text = st.text(max_size=40)
messages = st.builds(
    TaskMessage,
    type=text,
    payload=st.binary(max_size=300),
    id=text,
    queue=text,
    retry=int32,
    retried=int32,
    error_msg=text,
    timeout=int64,
    deadline=int64,
    unique_key=text,
    last_failed_at=int64,
    retention=int64,
    completed_at=int64,
    group_key=text,
    headers=st.dictionaries(text, text, max_size=3).map(encode_headers),
)


def test_the_golden_vectors_decode() -> None:
    message = decode_message(PLAIN)
    assert (message.type, message.payload, message.queue) == ("email:send", b'{"a":1}', "default")
    assert message.id == "11111111-1111-4111-8111-111111111111"
    assert (message.retry, message.retried, message.timeout, message.deadline) == (25, 0, 1800, 0)
    full = decode_message(FULL)
    assert (full.retried, full.error_msg, full.last_failed_at) == (1, "boom", 1_700_000_000)
    assert full.retention == 86400
    assert decode_headers(full.headers) == {"k": "v"}
    assert full.unknown == b""


@pytest.mark.parametrize("data", [PLAIN, FULL])
def test_the_golden_vectors_encode(data: bytes) -> None:
    assert encode_message(decode_message(data)) == data


def test_the_primitives_make_the_server_info_vector() -> None:
    out = bytearray()
    write_string(out, 1, "h")
    write_int(out, 2, 7)
    write_string(out, 3, "h:7")
    write_int(out, 4, 4)
    entry = bytearray()
    write_string(entry, 1, "default")
    write_int(entry, 2, 3)
    write_bytes(out, 5, bytes(entry))
    write_string(out, 7, "active")
    write_timestamp(out, 8, 1_700_000_000.9)
    assert bytes(out) == SERVER_INFO


@given(messages)
def test_every_message_survives_a_round_trip(message: TaskMessage) -> None:
    assert decode_message(encode_message(message)) == message


@given(messages, st.randoms(use_true_random=False))
def test_fields_may_come_in_any_order(message: TaskMessage, rng: random.Random) -> None:
    data = encode_message(message)
    cuts = []
    at = 0
    while at < len(data):
        tag, stop = read_varint(data, at)
        if tag & 7:
            size, stop = read_varint(data, stop)
            stop += size
        else:
            stop = read_varint(data, stop)[1]
        cuts.append(data[at:stop])
        at = stop
    headers = [cut for cut in cuts if cut[0] == 0x7A]
    others = [cut for cut in cuts if cut[0] != 0x7A]
    rng.shuffle(others)
    assert decode_message(b"".join(headers + others)) == message


@given(st.lists(st.tuples(st.integers(16, 2**29 - 1), st.sampled_from([0, 1, 2, 5]), int64), max_size=5))
def test_unknown_fields_are_kept_byte_for_byte(extra: list[tuple[int, int, int]]) -> None:
    unknown = bytearray()
    for field, wire, value in extra:
        write_varint(unknown, field << 3 | wire)
        if wire == 0:
            write_varint(unknown, value)
        elif wire == 2:
            write_varint(unknown, 3)
            unknown += b"abc"
        else:
            unknown += bytes(8 if wire == 1 else 4)
    message = decode_message(PLAIN[:12] + bytes(unknown) + PLAIN[12:])
    assert message.unknown == bytes(unknown)
    assert encode_message(message) == PLAIN + bytes(unknown)


def test_a_known_number_with_another_wire_type_counts_as_unknown() -> None:
    odd = b"\x0d\x01\x02\x03\x04" + b"\x2a\x01x" + b"\x10\x05"
    message = decode_message(odd + PLAIN)
    assert message.unknown == odd
    assert message.retry == 25


def test_the_last_of_repeated_fields_wins() -> None:
    assert decode_message(PLAIN + b"\x28\x03" + b"\x0a\x01x").retry == 3
    assert decode_message(PLAIN + b"\x0a\x01x").type == "x"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_refused_with_a_reason(data: bytes) -> None:
    try:
        message = decode_message(data)
    except CodecError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, a reason is not optional
    else:
        assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PLAIN[:-1], "cut off"),
        (PLAIN[:5], "cut off: field 1 ends at byte 12, the message at 5"),
        (b"\x0a", "cut off after byte 1"),
        (b"\x28" + b"\xff" * 10 + b"\x01", "longer than 10 bytes"),
        (b"\x0a\x02\xff\xfe", "not valid UTF-8"),
        (b"\x02\x00", "field number 0"),
        (b"\x83\x01\x00", "unsupported wire type 3"),
        (b"\x80\x01", "cut off inside a number"),
    ],
)
def test_broken_messages_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        decode_message(data)


@given(int32, int64)
def test_negative_numbers_take_ten_bytes_and_come_back(small: int, large: int) -> None:
    for value, back in ((small, to_int32), (large, to_int64)):
        out = bytearray()
        write_varint(out, value)
        assert len(out) == 10 if value < 0 else len(out) <= 10
        number, stop = read_varint(bytes(out), 0)
        assert back(number) == value
        assert stop == len(out)


def test_headers_refuse_what_is_not_a_map() -> None:
    assert decode_headers(encode_headers({"b": "2", "a": ""})) == {"a": "", "b": "2"}
    with pytest.raises(CodecError, match="not a message"):
        decode_headers(b"\x78\x01")
    with pytest.raises(CodecError, match="must be strings"):
        decode_headers(b"\x7a\x02\x08\x01")


def test_fields_of_any_message_can_be_read() -> None:
    found = list(read_fields(b"\x08\x05\x12\x01x\x1d\x01\x02\x03\x04\x21" + bytes(8)))
    assert found == [(1, 5), (2, b"x"), (3, b"\x01\x02\x03\x04"), (4, bytes(8))]
