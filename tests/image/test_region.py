"""A part of a picture equals plain cropping, whatever the picture and the area."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import JpegPicture, Picture
from edge_runtime.image.region import LEAST_PREVIEW, Area, PartOfPicture


def _image(width: int, height: int) -> Image:
    return np.random.default_rng(width * 1009 + height).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


@st.composite
def areas(draw: st.DrawFn) -> Area:
    shares = st.floats(0, 1, allow_subnormal=False)
    left, top = draw(shares), draw(shares)
    return Area(left, top, draw(st.floats(0, 1 - left)), draw(st.floats(0, 1 - top)))


@given(areas(), st.integers(1, 60), st.integers(1, 60))
def test_it_equals_plain_cropping(area: Area, width: int, height: int) -> None:
    whole = _image(width, height)
    inside = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            inside[y, x] = round(area.left * width) <= x < round(
                (area.left + area.width) * width
            ) and round(area.top * height) <= y < round((area.top + area.height) * height)
    part = PartOfPicture(Picture(whole), area).image
    assert min(part.shape[:2]) >= 1
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    if rows.any() and columns.any():
        assert (part == whole[rows][:, columns]).all()
    assert np.shares_memory(part, whole)


@given(areas())
def test_neighbors_share_no_pixel_and_leave_none_out(area: Area) -> None:
    whole = _image(97, 61)
    left = Area(0, 0, area.left, 1).of(whole).shape[1]
    right = Area(area.left, 0, 1 - area.left, 1).of(whole).shape[1]
    assert 97 <= left + right <= 98  # a part has at least one pixel


def test_a_jpeg_is_decoded_once_for_all_parts_and_only_when_needed(cat: Image) -> None:
    done, data = cv2.imencode(".jpg", cv2.resize(cat, (640, 480)))
    assert done
    whole = JpegPicture(data.tobytes())
    parts = [PartOfPicture(whole, Area(x, 0, 0.5, 1)) for x in (0, 0.5)]
    preview = parts[0].preview
    assert preview is not None and min(preview.shape[:2]) >= LEAST_PREVIEW
    assert all(part.encoded for part in parts)
    assert parts[0].image.shape == (480, 320, 3)
    assert not parts[1].encoded
    assert np.shares_memory(parts[1].image, whole.image)
    assert (np.hstack([part.image for part in parts]) == whole.image).all()


def test_a_small_part_of_a_preview_is_left_to_the_full_picture(cat: Image) -> None:
    done, data = cv2.imencode(".jpg", cv2.resize(cat, (640, 480)))
    assert done
    part = PartOfPicture(JpegPicture(data.tobytes()), Area(0.4, 0.4, 0.1, 0.1))
    assert part.preview is None
    assert part.image.shape[:2] == (48, 64)
