"""The file of a version: what is written is read again, and nothing else is accepted."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import EdgeRuntimeError, FleetFormatError, LabelError
from edge_runtime.fleet.operations import (
    Add,
    Head,
    Label,
    Operation,
    Reject,
    Relabel,
    Remove,
    read_version,
    to_line,
    write_version,
)
from edge_runtime.gallery import check_label
from edge_runtime.position import Position
from tests.support.fleet import BITS, JPEG, digest_of, head, packed, picture

HEAD = head(7, 6)


def _usable(text: str) -> bool:
    try:
        return check_label(text) == text
    except LabelError:
        return False


labels = st.text(min_size=1, max_size=12).filter(_usable)
digests = st.binary(min_size=32, max_size=32)
codes = st.binary(min_size=8, max_size=8)
positions = st.builds(
    Position,
    st.floats(-90, 90).map(lambda x: x + 0.0),
    st.floats(-180, 180).map(lambda x: x + 0.0),
    st.none() | st.floats(0, 360).map(lambda x: x + 0.0),
)


@st.composite
def adds(draw: st.DrawFn) -> Add:
    views = draw(st.lists(codes, min_size=1, max_size=6))
    features = draw(
        st.none()
        | st.lists(
            st.binary(min_size=4, max_size=4) | st.just(b""),
            min_size=len(views),
            max_size=len(views),
        ).filter(any)
    )
    source = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    return Add(
        draw(labels),
        draw(digests),
        tuple(views),
        None if features is None else tuple(features),
        draw(st.none() | positions),
        source,
    )


operations = (
    adds()
    | st.builds(Remove, labels, st.none() | digests)
    | st.builds(Relabel, labels, labels)
    | st.builds(Label, labels, st.just("") | st.integers().map(str), st.sampled_from((b"", JPEG)))
    | st.builds(Reject, digests)
)


@given(st.lists(operations, max_size=8), st.none() | st.integers(0, 6))
def test_what_is_written_is_read_again(listed: list[Operation], base: int | None) -> None:
    written = replace(HEAD, base=base)
    data = packed(written, listed)
    assert packed(written, iter(listed)) == data
    read, rest = read_version(io.BytesIO(data))
    assert (read, list(rest)) == (written, listed)


def test_a_version_is_lines_that_people_can_read() -> None:
    at = Position(48.1, 11.5)
    listed: list[Operation] = [
        picture("café", 1, features=True, at=at),
        Remove("cat"),
        Relabel("a", "b"),
    ]
    lines = gzip.decompress(packed(HEAD, listed)).decode().splitlines()
    first, add, remove, relabel = map(json.loads, lines)
    assert first == {
        "edge_runtime_fleet": 1,
        "version": 7,
        "base": 6,
        "model_id": HEAD.model_id,
        "bits": BITS,
        "content": HEAD.content,
    }
    assert list(add) == ["add"]
    assert add["add"]["label"] == "café"
    assert add["add"]["digest"] == digest_of(1).hex()
    assert add["add"]["position"] == [48.1, 11.5, None]
    assert len(add["add"]["codes"]) == len(add["add"]["features"]) == 2
    assert (remove, relabel) == (
        {"remove": {"label": "cat"}},
        {"relabel": {"from": "a", "to": "b"}},
    )
    assert b"photo-1.jpg" not in to_line(listed[0], source=False)


GOOD = json.loads(to_line(picture("cat", 1, features=True)))["add"]
FIRST = json.loads(gzip.decompress(packed(HEAD, [])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "a/b"}, "must not contain '/'"),
        ({"label": 5}, "'label' must be text"),
        ({"digest": "00"}, "a digest must have 32 bytes, got 1"),
        ({"digest": "zz"}, "malformed"),
        ({"codes": []}, "a picture needs a code"),
        ({"codes": ["00"] * 2}, "expected codes of 64 bits, got 1 bytes"),
        ({"codes": "0000000000000000"}, "'codes' must be a list of text"),
        ({"codes": ["00" * 8] * 257}, "more than 256 values"),
        ({"features": ["AAAA"]}, "2 codes with 1 features"),
        ({"features": ["AAAA", "AAAAAAAA"]}, "of one length"),
        ({"features": ["A", "A"]}, "malformed"),
        ({"position": [91, 0, None]}, "latitude must be between"),
        ({"position": [1]}, "malformed"),
        ({"position": [1, 2, 3, 4]}, "a position is"),
        ({"position": [None, 2]}, "a position is"),
        ({"source": "x" * 5000}, "a source must not exceed 4096"),
    ],
)
def test_a_bad_picture_is_refused_with_its_line(change: dict[str, Any], message: str) -> None:
    _refuse([FIRST, {"add": GOOD}, {"add": {**GOOD, **change}}], message, "line 3")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "not a JSON object"),
        ({"add": GOOD, "reject": {}}, "one operation per line"),
        ({"run": {"command": "ls"}}, "unknown operation 'run'.*update"),
        ({"remove": "cat"}, "'remove' must be an object"),
        ({"relabel": {"from": "a"}}, "'to' is missing"),
        ({"reject": {}}, "'digest' is missing"),
        ({"label": {"label": "a", "payload": "{"}}, "payload is not valid JSON"),
        ({"label": {"label": "a", "thumbnail": "AAAA"}}, "thumbnail is not a JPEG"),
    ],
)
def test_a_bad_operation_is_refused_with_its_line(line: object, message: str) -> None:
    _refuse([FIRST, line], message, "line 2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge_runtime_fleet": 2}, "in format 1"),
        ({"version": 0}, "'version'"),
        ({"version": True}, "'version'"),
        ({"version": 1 << 60}, "'version'"),
        ({"base": 7}, "an earlier version"),
        ({"bits": 0}, "'bits'"),
        ({"model_id": "a b"}, "the id of a model"),
        ({"content": "00"}, "SHA-256"),
        ({"content": None}, "'content' must be text"),
    ],
)
def test_a_bad_head_is_refused(change: dict[str, Any], message: str) -> None:
    _refuse([{**FIRST, **change}], message, "line 1")


def _refuse(lines: list[object], message: str, where: str) -> None:
    data = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
    _refuse_bytes(data, message, where)


def _refuse_bytes(data: bytes, message: str, where: str, **limits: int) -> None:
    with pytest.raises(FleetFormatError, match=message) as caught:
        list(read_version(io.BytesIO(data), **limits)[1])
    assert caught.value.where == where
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_or_changed_is_refused() -> None:
    data = packed(HEAD, [picture("cat", number) for number in range(50)])
    for length in range(0, len(data), 7):
        with pytest.raises(FleetFormatError):
            list(read_version(io.BytesIO(data[:length]))[1])
    for place in range(10, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        with pytest.raises(FleetFormatError):
            list(read_version(io.BytesIO(bytes(changed)))[1])
    _refuse_bytes(b"", "the file is empty", "line 1")


def test_endless_data_is_refused_in_bounded_memory() -> None:
    line = to_line(Reject(digest_of(1)))
    first = gzip.decompress(packed(HEAD, []))
    _refuse_bytes(
        gzip.compress(first + 20 * line), "more than 10 op", "line 12", most_operations=10
    )
    _refuse_bytes(gzip.compress(first + 20 * line), "longer than 999", "line 10", most_bytes=999)
    bomb = gzip.compress(first + bytes(1 << 26))
    tracemalloc.start()
    try:
        _refuse_bytes(bomb, "longer than 1048576 bytes", "line 2")
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


def test_an_operation_that_no_board_could_read_is_not_written() -> None:
    huge = Label("cat", json.dumps("x" * (1 << 20)))
    with pytest.raises(FleetFormatError, match="longer than"):
        write_version(io.BytesIO(), HEAD, [huge])
    with pytest.raises(EdgeRuntimeError):
        packed(HEAD, [huge])
    assert isinstance(HEAD, Head)
