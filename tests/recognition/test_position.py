"""Positions: read from Exif data, and combined with code distances in searches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL.TiffImagePlugin import IFDRational

from edge_runtime.code import hamming
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import InputError, NotEnrolledError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image.exif import read_exif_position
from edge_runtime.position import Position, QueryPosition, ground_distance_m, parse_position

MODEL = FakeEngine().model
DELFT = Position(52.0116, 4.3571)


def test_known_distances() -> None:
    """Great circles on the mean sphere, from the calculator of movable-type.co.uk."""
    places = np.array([[52.0116, 4.3571, 0], [52.3676, 4.9041, 0], [40.7128, -74.006, 0]])
    meters = ground_distance_m(DELFT, places)
    assert meters[0] == 0
    assert meters[1] == pytest.approx(54_500, rel=0.01)  # Amsterdam
    assert meters[2] == pytest.approx(5_850_000, rel=0.01)  # New York
    over = ground_distance_m(Position(0, 179.999), np.array([[0, -179.999, np.nan]]))
    assert over[0] == pytest.approx(222.4, abs=0.5)  # across the date line


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("52", "not a position"),
        ("52,4,90,1", "not a position"),
        ("north,4", "not a position"),
        ("nan,4", "latitude must be between -90 and 90 degrees, got nan"),
        ("91,4", "latitude must be between -90 and 90 degrees, got 91"),
        ("52,181", "longitude must be between -180 and 180 degrees, got 181"),
        ("52,4,361", "heading must be between 0 and 360 degrees, got 361"),
    ],
)
def test_invalid_positions_are_rejected(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        parse_position(text)


def test_valid_positions() -> None:
    assert parse_position("52.5, -4") == Position(52.5, -4)
    assert parse_position("-1,2,360") == Position(-1, 2, 360)
    with pytest.raises(InputError, match="meters_per_bit must be a positive number, got 0"):
        QueryPosition(DELFT, meters_per_bit=0)


coordinates = st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.none() | st.floats(0, 360))
nearby = st.tuples(
    st.floats(52.010, 52.013), st.floats(4.355, 4.359), st.none() | st.floats(0, 360)
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    places=st.lists(st.none() | nearby | coordinates, min_size=1, max_size=60),
    query=nearby,
    within=st.none() | st.floats(0, 500),
    meters_per_bit=st.none() | st.floats(0.5, 100),
    degrees_per_bit=st.none() | st.floats(1, 90),
    k=st.integers(0, 70),
    seed=st.integers(0, 99),
)
def test_a_search_equals_a_full_sort_by_score(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[tuple[float, float, float | None] | None],
    query: tuple[float, float, float | None],
    within: float | None,
    meters_per_bit: float | None,
    degrees_per_bit: float | None,
    k: int,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 1 << 12, (len(places), 1)).astype(np.uint64)
    positions = [None if place is None else Position(*place) for place in places]
    near = QueryPosition(Position(*query), within, meters_per_bit, degrees_per_bit)
    path = tmp_path_factory.mktemp("near") / "g.sqlite"
    expected = []
    for number, (code, position) in enumerate(zip(codes, positions, strict=True), 1):
        score = float(hamming(code, codes[0]))
        if position is not None:
            row = np.array([position.to_row()])
            if within is not None and ground_distance_m(near.position, row)[0] > within:
                continue
            score += near.penalties(row)[0]
        expected.append((score, number))
    expected.sort()
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(
            LabeledCode("x", code, position=position)
            for code, position in zip(codes, positions, strict=True)
        )
        found = gallery.search(codes[0], k, near=near)
    assert [match.id for match in found] == [number for _, number in expected[:k]]
    if any(positions):
        np.testing.assert_allclose([match.score for match in found], [s for s, _ in expected[:k]])


def test_positions_separate_items_that_look_alike(gallery: Gallery) -> None:
    code = np.zeros(1, np.uint64)
    here, there = Position(52.0116, 4.3571), Position(52.0216, 4.3571)  # 1.1 km
    gallery.enroll(
        [LabeledCode("stairs of A", code, position=there), LabeledCode("stairs of B", code)]
    )
    gallery.enroll([LabeledCode("stairs of C", code, position=here)])

    def labels(**options: float) -> list[str]:
        near = QueryPosition(here, **options) if options else None
        return [match.label[-1] for match in gallery.search(code, near=near)]

    assert labels() == ["A", "B", "C"]
    assert labels(meters_per_bit=50) == ["B", "C", "A"]
    assert labels(within_m=500) == ["B", "C"]
    first, _, last = gallery.search(code, near=QueryPosition(here, meters_per_bit=50))
    assert first.meters is None
    assert last.meters is not None
    assert last.meters == pytest.approx(1112, abs=1)
    assert last.penalty == pytest.approx((last.meters - 10) / 50)


def test_a_search_restricted_to_labels(gallery: Gallery) -> None:
    gallery.enroll([LabeledCode(f"label {n % 7}", np.array([n], np.uint64)) for n in range(200)])
    gallery.remove(ids=[3])
    found = gallery.search(np.zeros(1, np.uint64), 99, labels=["label 2", "label 5"])
    assert {match.label for match in found} == {"label 2", "label 5"}
    assert len(found) == 56
    near = gallery.within(np.zeros(1, np.uint64), 2, labels=["label 2"])
    expected = [n for n in range(2, 200, 7) if n != 2 and n.bit_count() <= 2]
    assert [match.id - 1 for match in near] == sorted(expected, key=int.bit_count)
    with pytest.raises(NotEnrolledError, match="owl: no such label"):
        gallery.search(np.zeros(1, np.uint64), labels=["owl"])


# -- Exif -----------------------------------------------------------------------------------------


def _photo(path: Path, gps: Mapping[int, object]) -> bytes:
    exif = Pillow.Exif()
    exif[0x8825] = gps
    Pillow.new("RGB", (64, 48)).save(path, exif=exif)
    return path.read_bytes()


def _degrees(value: float) -> tuple[IFDRational, ...]:
    minutes = (value % 1) * 60
    return (
        IFDRational(int(value)),
        IFDRational(int(minutes)),
        IFDRational(round((minutes % 1) * 60 * 1000), 1000),
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_exif_position_of_a_photo(tmp_path: Path, suffix: str) -> None:
    gps = {1: "S", 2: _degrees(33.8568), 3: "W", 4: _degrees(70.6483), 17: IFDRational(2715, 10)}
    found = read_exif_position(_photo(tmp_path / f"a{suffix}", gps))
    assert found is not None
    assert found.latitude == pytest.approx(-33.8568, abs=1e-6)
    assert found.longitude == pytest.approx(-70.6483, abs=1e-6)
    assert found.heading == pytest.approx(271.5)


@pytest.mark.parametrize(
    "gps",
    [
        {},
        {1: "N", 2: _degrees(52)},
        {1: "N", 2: _degrees(95), 3: "E", 4: _degrees(4)},
        {1: "N", 2: (IFDRational(1, 0),) * 3, 3: "E", 4: _degrees(4)},
    ],
)
def test_missing_or_invalid_exif_positions_are_none(tmp_path: Path, gps: dict[int, object]) -> None:
    assert read_exif_position(_photo(tmp_path / "a.jpg", gps)) is None


@settings(max_examples=100, deadline=None)
@given(st.data())
@example(None)
def test_damaged_exif_data_never_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject | None
) -> None:
    gps = {1: "N", 2: _degrees(52.5), 3: "E", 4: _degrees(4.25)}
    data_bytes = bytearray(_photo(tmp_path_factory.mktemp("exif") / "a.jpg", gps))
    if data is not None:
        for _ in range(data.draw(st.integers(1, 6))):
            data_bytes[data.draw(st.integers(0, 250))] = data.draw(st.integers(0, 255))
    found = read_exif_position(bytes(data_bytes))
    assert found is None or isinstance(found, Position)
