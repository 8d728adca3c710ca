"""Decode the photo files that cameras and phones write, and reject unusable ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo, find_photos, read_photo


def _encode(image: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture(scope="session")
def picture(cat: Image) -> Pillow.Image:
    return Pillow.fromarray(cat[..., ::-1])


def _difference(a: NDArray[Any], b: Image) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_decode_exactly(kind: str, picture: Pillow.Image, cat: Image) -> None:
    assert (decode_photo(_encode(picture, kind)) == cat).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_decode_closely(kind: str, picture: Pillow.Image, cat: Image) -> None:
    assert _difference(decode_photo(_encode(picture, kind, quality=95)), cat) < 4


def test_every_exif_orientation_is_applied(picture: Pillow.Image, cat: Image) -> None:
    stored_as = {
        1: cat,
        2: cat[:, ::-1],
        3: cat[::-1, ::-1],
        4: cat[::-1],
        5: cat.transpose(1, 0, 2),
        6: cat.transpose(1, 0, 2)[::-1],
        7: cat.transpose(1, 0, 2)[::-1, ::-1],
        8: cat.transpose(1, 0, 2)[:, ::-1],
    }
    for orientation, stored in stored_as.items():
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        data = _encode(
            Pillow.fromarray(np.ascontiguousarray(stored[..., ::-1])), "JPEG", quality=95, exif=exif
        )
        assert _difference(decode_photo(data), cat) < 4, orientation


def test_a_large_jpeg_is_decoded_at_reduced_size_and_upright(
    picture: Pillow.Image, cat: Image
) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    large = picture.resize((4510, 3000)).transpose(Pillow.Transpose.ROTATE_90)
    image = decode_photo(_encode(large, "JPEG", exif=exif))
    assert image.shape == (750, 1128, 3)
    assert _difference(cv2.resize(image, cat.shape[1::-1], interpolation=cv2.INTER_AREA), cat) < 4


def test_cmyk_jpeg(picture: Pillow.Image, cat: Image) -> None:
    assert _difference(decode_photo(_encode(picture.convert("CMYK"), "JPEG", quality=95)), cat) < 4


def test_gray_becomes_three_equal_channels(picture: Pillow.Image) -> None:
    image = decode_photo(_encode(picture.convert("L"), "PNG"))
    assert image.shape == (300, 451, 3)
    assert (image[..., 0] == image[..., 2]).all()


def test_palette_png(picture: Pillow.Image, cat: Image) -> None:
    assert _difference(decode_photo(_encode(picture.quantize(256), "PNG")), cat) < 12


def test_sixteen_bit_images_keep_their_brightness(cat: Image) -> None:
    _, data = cv2.imencode(".png", cat.astype(np.uint16) * 257)
    assert _difference(decode_photo(data.tobytes()), cat) < 1


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_is_blended_with_white(cat: Image, depth: type) -> None:
    full = np.iinfo(depth).max
    layered: NDArray[Any] = np.dstack([cat, np.full(cat.shape[:2], 255, np.uint8)]).astype(
        depth
    ) * (full // 255)
    layered[:150, :, 3] = 0
    _, data = cv2.imencode(".png", layered)
    image = decode_photo(data.tobytes())
    assert (image[:150] == 255).all()
    assert (image[150:] == cat[150:]).all()


def _png_header(width: int, height: int) -> bytes:
    """Return a PNG header that claims a huge size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    end = b"\0\0\0\0IEND\xaeB`\x82"
    return b"\x89PNG\r\n\x1a\n" + chunk + end


def _bad_files(picture: Pillow.Image) -> dict[str, tuple[bytes, str]]:
    jpeg, png = _encode(picture, "JPEG"), _encode(picture, "PNG")
    webp, bmp = _encode(picture, "WEBP"), _encode(picture, "BMP")
    thumbnail = _encode(picture.resize((64, 64)), "JPEG")
    with_thumbnail = (
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + jpeg[2:]
    )
    return {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"this is not a picture at all", "not an image"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated JPEG"),
        "only-magic.jpg": (jpeg[:10], "truncated JPEG"),
        "truncated-with-thumbnail.jpg": (with_thumbnail[:-4000], "truncated JPEG"),
        "truncated.png": (png[: len(png) // 2], "truncated PNG"),
        "only-magic.png": (png[:12], "truncated PNG"),
        "truncated.webp": (webp[: len(webp) // 2], "truncated WebP"),
        "truncated.bmp": (bmp[: len(bmp) // 2], "truncated BMP"),
        "garbled.png": (_garble(png), "damaged PNG"),
        "tiff.tif": (b"II*\0" + bytes(40), "truncated TIFF"),
        "one.png": (_encode(picture.resize((1, 1)), "PNG"), "too small: 1 x 1 pixels"),
        "one.tif": (_encode(picture.resize((1, 1)), "TIFF"), "too small: 1 x 1 pixels"),
        "strip.jpg": (
            _encode(picture.resize((20000, 10)), "JPEG"),
            "too small: 20000 x 10 pixels",
        ),
        "bomb.png": (_png_header(60000, 60000), "too large to decode: 60000 x 60000 pixels"),
        "bomb.tif": (_tiff_header(60000, 60000), "too large|damaged"),
        "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
    }


def _garble(png: bytes) -> bytes:
    """Return `png` with its first IDAT chunk zeroed."""
    at = png.index(b"IDAT")
    length = int.from_bytes(png[at - 4 : at], "big")
    return png[: at + 4] + bytes(length) + png[at + 4 + length :]


def _tiff_header(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 200), (277, 3, 1), (278, 4, height), (279, 4, 1000)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(2000)


def test_every_bad_file_raises_an_error_of_one_line(tmp_path: Path, picture: Pillow.Image) -> None:
    for name, (data, what) in _bad_files(picture).items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(PhotoError, match=what) as caught:
            read_photo(path)
        assert str(caught.value).startswith(str(path)), name
        assert caught.value.remedy, name
        assert "\n" not in str(caught.value), name


def test_a_missing_file_and_a_folder_raise_photo_errors(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        read_photo(tmp_path / "nothing.jpg")
    with pytest.raises(PhotoError, match="this is a folder"):
        read_photo(tmp_path)


def test_find_photos(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "deep/er/c.webp", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_photos(tmp_path)]
    assert found == ["a.png", "b.JPG", "deep/er/c.webp"]
    with pytest.raises(NoPhotosError, match="no such folder"):
        find_photos(tmp_path / "nowhere")
    (tmp_path / "void").mkdir()
    with pytest.raises(NoPhotosError, match="no photos"):
        find_photos(tmp_path / "void")
