"""The JPEGs of cheap cameras: stray bytes, no end marker, half a picture, and hostile headers."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.jpeg_frame import read_frame
from edge_runtime.image.jpeg_header import END
from edge_runtime.image.lazy_jpeg import JpegPicture

KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {},
    "4:4:4": {"subsampling": 0},
    "restarts each row": {"restart_marker_rows": 1},
    "restarts within rows": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
}


def _jpeg(image: Image, **options: Any) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(image[..., ::-1]).save(out, "JPEG", quality=80, **options)
    return out.getvalue()


def _segments(data: bytes) -> list[int]:
    """Return the offset of each segment up to the scan, which has no thumbnail here."""
    offsets, at = [], 2
    while True:
        offsets.append(at)
        if data[at + 1] == 0xDA:
            return offsets
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _fault(data: bytes, *, preview: bool = False) -> str:
    with pytest.raises(PhotoError) as caught:
        _ = JpegPicture(data).preview if preview else JpegPicture(data).image
    return str(caught.value)


@pytest.fixture(scope="module")
def jpegs(cat: Image) -> dict[str, bytes]:
    return {kind: _jpeg(cat[:201, :299], **options) for kind, options in KINDS.items()}


@given(data=st.data())
def test_stray_bytes_between_segments_change_nothing(
    data: st.DataObject, jpegs: dict[str, bytes]
) -> None:
    """As in libjpeg, everything up to the next marker is skipped, stuffed zeros and fill too."""
    whole = jpegs[data.draw(st.sampled_from(["4:2:0", "progressive"]))]
    stray = st.lists(st.sampled_from([b"\0", b"\x01", b"\xff\0", b"\xd8", b"abc"]), max_size=3)
    pieces, at = [], 0
    for offset in _segments(whole):
        pieces += [whole[at:offset], b"".join(data.draw(stray))]
        at = offset
    if not whole.startswith(b"\xff\xd8"):
        raise AssertionError
    damaged = b"".join([*pieces, b"\xff" * data.draw(st.integers(0, 3)), whole[at:]])
    assert (JpegPicture(damaged).image == JpegPicture(whole).image).all()
    assert read_frame(damaged).data.replace(b"\xff\xff", b"\xff") == whole


def test_stray_bytes_print_nothing(jpegs: dict[str, bytes], capfd: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    """libjpeg prints a line for each such picture."""
    whole = jpegs["4:2:0"]
    at = _segments(whole)[-1]
    picture = JpegPicture(b"\r\n" + whole[:at] + b"\x5a" + whole[at:])
    assert picture.usable(preview_only=True)
    assert picture.usable(preview_only=False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_marker_and_padding_are_accepted(kind: str, jpegs: dict[str, bytes]) -> None:
    whole = jpegs[kind]
    expected = JpegPicture(whole).image
    for data in (whole[:-2], whole[:-1], whole + b"\0" * 500, whole + b"\xff\xd9\xff"):
        assert (JpegPicture(data).image == expected).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("ending", [b"", END, b"\xff", b"\0\0\0" + END])
def test_a_part_of_a_picture_is_damaged(
    kind: str, share: float, ending: bytes, jpegs: dict[str, bytes]
) -> None:
    whole = jpegs[kind]
    begin = _segments(whole)[-1] + 14
    cut = whole[: begin + round(share * (len(whole) - begin))] + ending
    for preview in (False, True):
        assert "damaged JPEG" in _fault(cut, preview=preview)
    assert not JpegPicture(cut).usable(preview_only=True)


@pytest.mark.parametrize("level", [0, 127, 128, 129, 255])
def test_a_plain_picture_is_no_damage(level: int) -> None:
    """Missing parts are decoded to gray 128, so such a picture looks as if it lacked everything."""
    plain = np.full((64, 96, 3), level, np.uint8)
    framed = plain.copy()
    framed[8:-8, 8:-8] = np.arange(80, dtype=np.uint8)[:, None] * 3
    for image in (plain, framed):
        for options in KINDS.values():
            data = _jpeg(image, **options)
            assert (JpegPicture(data).image == JpegPicture(data[:-2]).image).all()


def test_missing_restart_intervals_are_damage(jpegs: dict[str, bytes]) -> None:
    whole = jpegs["restarts each row"]
    at = whole.index(b"\xff\xd3")
    assert "missing" in _fault(whole[:at] + END)


def _resized(data: bytes, width: int, height: int) -> bytes:
    """Return the JPEG with another size in its frame header."""
    at = next(at for at in _segments(data) if 0xC0 <= data[at + 1] <= 0xC2)
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return data[: at + 5] + size + data[at + 9 :]


@pytest.mark.parametrize(
    ("kind", "width", "height", "fault"),
    [
        ("4:2:0", 20_000, 20_000, "too large"),
        ("4:2:0", 65_500, 500, "too long and narrow"),
        ("4:2:0", 7_000, 4_000, "missing"),
        ("progressive", 20_000, 20_000, "several scans of 20000 x 20000 pixels is too large"),
        ("progressive", 5_000, 4_000, "too large"),
        ("4:2:0", 0, 480, "no size"),
        ("4:2:0", 640, 0, "no size"),
    ],
)
def test_a_frame_has_a_budget(
    kind: str, width: int, height: int, fault: str, jpegs: dict[str, bytes]
) -> None:
    """It is refused by its headers, before memory is allocated for it."""
    data = _resized(jpegs[kind], width, height)
    assert fault in _fault(data)


def test_the_number_of_scans_is_bounded(jpegs: dict[str, bytes]) -> None:
    whole = jpegs["progressive"]
    last = whole.rindex(b"\xff\xda")
    assert "scans" in _fault(whole[:-2] + whole[last:-2] * 40 + END)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\0" * 100, b"\xff\xd8" + b"\xff\xe0\0\x01"]
)
def test_what_is_not_a_jpeg_is_damaged(data: bytes) -> None:
    assert not JpegPicture(data).usable(preview_only=False)


def test_random_damage_is_a_picture_or_an_error(jpegs: dict[str, bytes]) -> None:
    random_ = random.Random(20)
    for _ in range(150):
        data = bytearray(jpegs[random_.choice(list(KINDS))])
        for _ in range(random_.randint(1, 4)):
            at = random_.randrange(min(len(data), 700))
            data[at : at + random_.randint(0, 2)] = random_.randbytes(random_.randint(0, 2))
        picture = JpegPicture(bytes(data[: random_.randint(1, len(data))]))
        assert picture.usable(preview_only=False) in (True, False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_photo_whose_data_ends_early_is_damaged(
    kind: str, share: float, jpegs: dict[str, bytes]
) -> None:
    """Its end marker is there, so the file looks whole.

    A progressive one whose first scan is whole shows everything, with fewer details.
    """
    whole = jpegs[kind]
    scan = _segments(whole)[-1]
    scan += 2 + int.from_bytes(whole[scan + 2 : scan + 4], "big")
    end = whole.find(b"\xff\xc4", scan) if kind == "progressive" else len(whole) - 2
    cut = whole[: scan + int(share * (end - scan))].rstrip(b"\xff") + END
    with pytest.raises(PhotoError, match=r"part of the picture is missing|damaged"):
        decode_photo(cut)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_photo_with_gray_corners_is_read(kind: str, cat: Image) -> None:
    image = np.full((211, 307, 3), 128, np.uint8)
    image[40:150, 50:250] = cat[40:150, 50:250]
    assert decode_photo(_jpeg(image, **KINDS[kind])).shape == image.shape


def test_a_sound_jpeg_is_passed_on_as_the_camera_sent_it(jpegs: dict[str, bytes]) -> None:
    whole = jpegs["4:2:0"]
    picture = JpegPicture(b"stray" + whole[:-2])
    assert picture.as_sent(299) is None  # it may be damaged
    assert picture.usable(preview_only=True)
    assert picture.as_sent(299) == whole
    assert picture.as_sent(298) is None


@pytest.mark.parametrize("kind", ["without tables", "progressive", "large"])
def test_what_browsers_may_not_show_is_encoded_anew(kind: str, jpegs: dict[str, bytes]) -> None:
    data = jpegs["progressive" if kind == "progressive" else "4:2:0"]
    if kind == "without tables":  # as many webcams; the decoder knows the usual ones
        for at in reversed(_segments(data)):
            if data[at + 1] == 0xC4:
                data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    if kind == "large":
        comment = b"\xff\xfe\xff\xff" + bytes((1 << 16) - 3)
        data = data[:2] + 2 * comment + data[2:]
    picture = JpegPicture(data)
    assert picture.image.shape == (201, 299, 3)
    assert picture.as_sent(299) is None
