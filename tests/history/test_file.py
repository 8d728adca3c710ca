"""What is stored in the history, and what its limits remove."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.database.side_file import LOG_BYTES
from edge_runtime.history import reading
from edge_runtime.history.export import header, lines
from edge_runtime.history.file import (
    Entry,
    Limits,
    Mark,
    count_events,
    history_file,
    mark,
    used_bytes,
    write,
)
from edge_runtime.history.reading import Filter, StoredEvent
from edge_runtime.types import Event

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_LIMITS = Limits(3650, 1 << 30)
EVERYTHING = Filter()


def event(number: int, label: str = "cat", kind: str = "enter", **more: object) -> Event:
    time = (START + timedelta(hours=number)).isoformat(timespec="milliseconds")
    made = Event(kind, label, 0.9, 3, number, time, time, 12.5, 1.0, f"{number:020x}", "board")
    return replace(made, camera="door", **more)  # type: ignore[arg-type]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(history_file(tmp_path / "h.sqlite").open()) as opened:
        yield opened


def _ids(path: Path, wanted: Filter = EVERYTHING, limit: int = 200, before: str = "") -> list[int]:
    events, _ = reading.newest(history_file(path), wanted, limit, before)
    return [int(one.event.id, 16) for one in events]


def _now(number: float) -> float:
    return (START + timedelta(hours=number)).timestamp()


def test_an_event_comes_back_as_it_was(connection: sqlite3.Connection, tmp_path: Path) -> None:
    stored = event(1, "Käse 🧀", region="left", reason="", next_label=None)
    write(connection, [Entry(stored, b"jpeg")], NO_LIMITS, _now(1))
    write(connection, [Entry(stored, b"again")], NO_LIMITS, _now(1))
    file = history_file(tmp_path / "h.sqlite")
    assert reading.find(file, stored.id) == StoredEvent(1, stored, True, None)
    assert reading.picture(file, stored.id) == b"jpeg"
    assert reading.find(file, "ff") is None
    assert reading.picture(file, "ff") == b""
    assert mark(connection, stored.id, Mark("milk"))
    assert not mark(connection, "ff", Mark("milk"))
    found = reading.find(file, stored.id)
    assert found is not None
    assert found.as_json()["wrong"] == {"label": "milk"}
    assert mark(connection, stored.id, None)
    found = reading.find(file, stored.id)
    assert found is not None
    assert found.wrong is None


def test_a_missing_file_is_an_empty_history(tmp_path: Path) -> None:
    file = history_file(tmp_path / "none.sqlite")
    assert reading.newest(file, Filter(), 5) == ([], False)
    assert reading.days(file) == {}
    assert not (tmp_path / "none.sqlite").exists()


@settings(max_examples=20)
@given(
    given_events=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["enter", "leave"]), st.booleans()),
        max_size=30,
    ),
    wanted=st.tuples(st.sampled_from(["", "a", "x"]), st.sampled_from(["", "enter", "leave"])),
    day=st.sampled_from(["", "2026-03-01", "2026-03-02"]),
    limit=st.integers(1, 8),
    most=st.integers(1, 40),
    days=st.sampled_from([0.25, 0.6, 30]),
)
def test_lists_and_limits_equal_a_plain_model(
    given_events: list[tuple[str, str, bool]],
    wanted: tuple[str, str],
    day: str,
    limit: int,
    most: int,
    days: float,
) -> None:
    model: list[tuple[int, Event, bool]] = []
    with TemporaryDirectory() as folder:
        path = Path(folder, "h.sqlite")
        with closing(history_file(path).open()) as connection:
            for number, (label, kind, pictured) in enumerate(given_events, 1):
                made = event(number, label, kind)
                entry = Entry(made, b"x" * 5000 if pictured else b"")
                write(connection, [entry], Limits(days, 1 << 30, most), _now(number))
                model.append((number, made, pictured))
                model = [
                    one for one in model if one[0] > number - most and number - one[0] <= days * 24
                ]
            (pictures,) = connection.execute("SELECT count(*) FROM picture").fetchone()
            assert pictures == sum(pictured for *_, pictured in model)
        matching = [
            number
            for number, made, _ in reversed(model)
            if wanted[0] in ("", made.label)
            and wanted[1] in ("", made.kind)
            and day in ("", made.time[:10])
        ]
        chosen = Filter(label=wanted[0], kind=wanted[1], day=day)
        seen: list[int] = []
        before, more = "", True
        while more:
            events, more = reading.newest(history_file(path), chosen, limit, before)
            assert len(events) <= limit
            seen += [one.number for one in events]
            before = events[-1].event.id if events else ""
            assert more == (len(seen) < len(matching))
        assert seen == matching
        after, parts = 0, []
        while after >= 0:
            part, after = reading.oldest(history_file(path), chosen, after, limit)
            parts += [one.number for one in part]
        assert parts == matching[::-1]
        counted: dict[str, dict[str, int]] = {}
        for _, made, _ in model:
            if made.kind == "enter":
                labels = counted.setdefault(made.time[:10], {})
                labels[made.label] = labels.get(made.label, 0) + 1
        assert reading.days(history_file(path)) == counted


def test_the_file_stays_within_its_size(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    limits = Limits(3650, 1_000_000)
    with closing(history_file(path).open()) as connection:
        for number in range(1, 120):
            write(connection, [Entry(event(number), bytes(40_000))], limits, _now(number))
            assert used_bytes(connection) <= limits.bytes
            assert path.stat().st_size <= limits.bytes + 100_000
            assert path.with_name("h.sqlite-wal").stat().st_size <= 2 * LOG_BYTES
        assert count_events(connection) >= 15
        assert _ids(path)[0] == 119
        assert _ids(path)[::-1] == sorted(_ids(path))
        assert reading.picture(history_file(path), event(119).id) == bytes(40_000)
        write(connection, [], Limits(3650, 300_000), _now(120))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert path.stat().st_size <= 300_000
    # One that is larger than the limit alone leaves nothing, and stops nothing.
    with closing(history_file(path).open()) as connection:
        write(connection, [Entry(event(200), bytes(2_000_000))], limits, _now(200))
        assert used_bytes(connection) <= limits.bytes
        write(connection, [Entry(event(201), b"small")], limits, _now(201))
        assert _ids(path) == [201]


def test_what_was_removed_is_overwritten(tmp_path: Path) -> None:
    path, secret = tmp_path / "h.sqlite", b"picture of a home" * 500
    with closing(history_file(path).open()) as connection:
        write(connection, [Entry(event(1), secret)], NO_LIMITS, _now(1))
        write(connection, [Entry(event(100))], Limits(1, 1 << 30), _now(100))
    assert secret[:100] not in path.read_bytes()


def test_events_of_one_frame_share_a_picture(tmp_path: Path) -> None:
    path, picture = tmp_path / "h.sqlite", bytes(9000)
    with closing(history_file(path).open()) as connection:
        entries = [
            Entry(event(1, "cat", "leave"), picture),
            Entry(event(2, "dog"), picture),
            Entry(event(3, "dog", "leave")),
        ]
        write(connection, entries, NO_LIMITS, _now(3))
        assert connection.execute("SELECT count(*) FROM picture").fetchone() == (1,)
    file = history_file(path)
    assert [reading.picture(file, event(n).id) for n in (1, 2, 3)] == [picture, picture, b""]


def test_a_row_that_cannot_be_read_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "h.sqlite"
    with closing(history_file(path).open()) as connection:
        write(connection, [Entry(event(n)) for n in range(1, 6)], NO_LIMITS, _now(6))
        for number, value in enumerate(["{", '{"kind": 3}', b"\xff\x00", "[" * 100_000], 1):
            connection.execute("UPDATE event SET details = ? WHERE number = ?", (value, number))
    assert _ids(path) == [5]
    assert "cannot be read" in caplog.text


def test_a_table_for_spreadsheets_contains_no_formulas() -> None:
    labels = ["=1+1", "+x", "-x", "@x", "\tx", 'a "b", c', "plain"]
    text = header() + lines(
        StoredEvent(n, event(n, label), False, Mark("=2") if n == 0 else None)
        for n, label in enumerate(labels)
    )
    rows = text.splitlines()
    assert rows[0].startswith("id,time,kind,label,")
    assert [row.split(",")[3] for row in rows[1:6]] == ["'=1+1", "'+x", "'-x", "'@x", "'\tx"]
    assert '"a ""b"", c"' in rows[6]
    assert rows[1].endswith(",0,1,'=2,gallery")
    assert all(len(row) < 300 for row in rows)
