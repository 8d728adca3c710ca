"""Every kind of a format is decoded correctly, or refused with its name: never as damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from edge_runtime.errors import PhotoError
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.header import read_header
from tests.image.pictures import HEIGHT, WIDTH, encode, gray_of, off
from tests.image.pictures import rgb as rgb
from tests.image.tiff_writer import tiff


def _stored(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return `rgb` as a file with this orientation holds it."""
    turned = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: rgb.transpose(1, 0, 2)[::-1],
        7: rgb.transpose(1, 0, 2)[::-1, ::-1],
        8: rgb.transpose(1, 0, 2)[:, ::-1],
    }
    return np.ascontiguousarray(turned[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_every_format_is_applied(
    orientation: int, rgb: NDArray[np.uint8]
) -> None:
    stored = _stored(rgb, orientation)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    files = {
        "PNG": encode(stored, "PNG", exif=exif),
        "WebP": encode(stored, "WEBP", lossless=True, exif=exif),
        "WebP, six more bytes": encode(
            stored,
            "WEBP",
            lossless=True,
            exif=b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0"),
        ),
        "TIFF": tiff(stored, {274: orientation}),
        "TIFF, big-endian": tiff(stored, {274: orientation}, order=">"),
        "TIFF, planes": tiff(stored, {274: orientation, 284: 2}),
        "TIFF, 16 bits": tiff(stored.astype(np.uint16) * 257, {274: orientation}),
        "TIFF, compressed": encode(
            stored, "TIFF", compression="tiff_lzw", tiffinfo={274: orientation}
        ),
    }
    for name, data in files.items():
        assert off(decode_photo(data), rgb) <= 1, name
        assert read_header(data, "").orientation == orientation, name


def _with_alpha(rgb: NDArray[np.uint8], full: int = 255) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the colors with alpha, from nothing to `full`, and what they are on white."""
    alpha = np.linspace(0, 1, WIDTH)[None, :, None].repeat(HEIGHT, axis=0)
    alpha = np.rint(alpha * full) / full
    layered = np.dstack([rgb / 255 * full, alpha * full])
    return np.rint(layered), rgb * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_laid_on_white(kind: str, rgb: NDArray[np.uint8]) -> None:
    layered, expected = _with_alpha(rgb)
    options: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert off(decode_photo(encode(layered.astype(np.uint8), kind, **options)), expected) <= 1


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_alpha_of_a_tiff_is_laid_on_white(
    depth: int, multiplied: bool, order: str, rgb: NDArray[np.uint8]
) -> None:
    full = 2**depth - 1
    layered, expected = _with_alpha(rgb, full)
    if multiplied:
        layered[..., :3] *= layered[..., 3:] / full
    pixels = np.rint(layered).astype(np.uint8 if depth == 8 else np.uint16)
    data = tiff(pixels, {338: 1 if multiplied else 2}, order=order)
    assert off(decode_photo(data), expected) <= 2


def test_a_large_photo_with_alpha_is_blended_across_bands() -> None:
    rng = np.random.default_rng(20)
    pixels = rng.integers(0, 256, (300, 700, 4), np.uint8)
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert off(decode_photo(encode(pixels, "PNG", compress_level=1)), expected) <= 0.51


def _packed(gray: NDArray[np.uint8], depth: int) -> NDArray[np.uint8]:
    """Return the highest bits of each pixel, packed."""
    bits = np.unpackbits(gray[..., None], axis=2)[..., :depth]
    return np.packbits(bits.reshape(HEIGHT, -1), axis=1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_kinds_of_tiff_that_are_decoded(order: str, rgb: NDArray[np.uint8]) -> None:
    gray = gray_of(rgb)
    wide, wide_gray = rgb.astype(np.uint16) * 257, gray.astype(np.uint16) * 257
    table = np.random.default_rng(20).integers(0, 256, (3, 256))
    indexed = table[:, gray].transpose(1, 2, 0)
    files: dict[str, tuple[bytes, NDArray[Any], float]] = {
        "colors": (tiff(rgb, order=order), rgb, 0),
        "planes": (tiff(rgb, {284: 2}, order=order), rgb, 0),
        "gray": (tiff(gray, order=order), gray, 0),
        "inverted gray": (tiff(255 - gray, {262: 0}, order=order), gray, 0),
        "16 bits": (tiff(wide, order=order), rgb, 1),
        "16-bit gray": (tiff(wide_gray, order=order), gray, 1),
        "inverted 16-bit gray": (tiff(65535 - wide_gray, {262: 0}, order=order), gray, 1),
        "CMYK": (tiff(np.dstack([255 - rgb, 0 * gray]), {262: 5}, order=order), rgb, 1),
        "palette": (
            tiff(gray, {262: 3, 320: [int(each) * 257 for each in table.reshape(-1)]}, order=order),
            indexed,
            1,
        ),
        "a fourth channel without meaning": (
            tiff(np.dstack([rgb, 0 * gray]), {338: 0}, order=order), rgb, 0,
        ),
    }  # fmt: skip
    bits = tiff(_packed(gray, 1), {256: WIDTH, 258: 1}, order=order)
    files["black and white"] = bits, (gray > 127) * 255, 0
    table = table[:, :16]
    colors = [int(each) * 257 for each in table.reshape(-1)]
    nibbles = {256: WIDTH, 258: 4, 262: 3, 320: colors}
    indexed = table[:, gray >> 4].transpose(1, 2, 0)
    files["4-bit palette"] = tiff(_packed(gray, 4), nibbles, order=order), indexed, 1
    for name, (data, expected, tolerance) in files.items():
        assert off(decode_photo(data), expected) <= tolerance, name


@pytest.mark.parametrize(
    "compression",
    ["raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg"],
)
def test_compressions_of_tiff(compression: str, rgb: NDArray[np.uint8]) -> None:
    data = encode(rgb, "TIFF", compression=compression)
    assert off(decode_photo(data), rgb) <= (12 if compression == "jpeg" else 0)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_fax_compressions_of_tiff(compression: str, rgb: NDArray[np.uint8]) -> None:
    black = gray_of(rgb) > 128
    data = encode(black, "TIFF", mode="1", compression=compression)
    assert off(decode_photo(data), black * 255) == 0


def test_the_first_page_is_decoded(rgb: NDArray[np.uint8]) -> None:
    pages = [Pillow.fromarray(255 - rgb)] * 2
    data = encode(rgb, "TIFF", save_all=True, append_images=pages)
    assert read_header(data, "").pages == 3
    assert off(decode_photo(data), rgb) == 0


def test_kinds_of_tiff_that_are_refused_are_named(rgb: NDArray[np.uint8]) -> None:
    gray = gray_of(rgb)
    files = {
        "floating-point": tiff(gray.astype(np.float32), {339: 3}),
        "signed": tiff(gray.astype(np.int16), {339: 2}),
        "32 bits": tiff(gray.astype(np.uint32)),
        "64 bits": tiff(gray.astype(np.uint64)),
        "2 bits": tiff(_packed(gray, 2), {256: WIDTH, 258: 2}),
        "4 bits": tiff(_packed(gray, 4), {256: WIDTH, 258: 4}),
        "12 bits": tiff(_packed(gray, 8), {256: 40, 258: 12}),
        "different depths": tiff(rgb, {258: [8, 8, 4]}),
        "2 channels": tiff(rgb[..., :2], {262: 1, 338: 2}),
        "5 channels": tiff(np.dstack([rgb, rgb[..., :2]]), {338: [0, 0]}),
        "Zstandard": tiff(rgb, {259: 50000}),
        "WebP compression": tiff(rgb, {259: 50001}),
        "LZMA": tiff(rgb, {259: 34925}),
        "JPEG 2000": tiff(rgb, {259: 34712}),
        "compression 4711": tiff(rgb, {259: 4711}),
        "raw sensor data": tiff(gray, {262: 32803}),
        "ICC Lab": tiff(rgb, {262: 9}),
        "colors 77": tiff(rgb, {262: 77}),
        "BigTIFF": b"II+\0\x08\0\0\0" + bytes(100),
    }
    files["BigTIFF files"] = encode(rgb, "TIFF", big_tiff=True)
    for what, data in files.items():
        with pytest.raises(PhotoError, match=what) as caught:
            decode_photo(data)
        assert "not supported" in caught.value.what, what
        assert "damaged" not in str(caught.value), what
        assert caught.value.remedy.startswith("convert it to PNG"), what


def test_jpegs_that_are_refused_are_named(rgb: NDArray[np.uint8]) -> None:
    jpeg = encode(rgb, "JPEG")
    at = jpeg.index(b"\xff\xc0")
    for offset, value, what in (
        (1, 0xC3, "lossless"),
        (1, 0xC5, "hierarchical"),
        (4, 12, "12 bits"),
    ):
        changed = jpeg[: at + offset] + bytes([value]) + jpeg[at + offset + 1 :]
        with pytest.raises(PhotoError, match=f"{what}.* not supported"):
            decode_photo(changed)


def test_stray_bytes_between_the_segments_of_a_jpeg(
    rgb: NDArray[np.uint8], capfd: pytest.CaptureFixture[str]
) -> None:
    jpeg = encode(rgb, "JPEG")
    at = jpeg.index(b"\xff\xc0")
    assert (decode_photo(jpeg[:at] + b"\x5a" + jpeg[at:]) == decode_photo(jpeg)).all()
    assert capfd.readouterr().err == ""


def test_libraries_print_nothing(rgb: NDArray[np.uint8], capfd: pytest.CaptureFixture[str]) -> None:
    """libjpeg prints a line for a scan that ends early, libpng for a wrong checksum."""
    jpeg, png = encode(rgb, "JPEG"), bytearray(encode(rgb, "PNG"))
    png[png.index(b"IDAT") + 20] ^= 0xFF
    lzw = bytearray(encode(rgb, "TIFF", compression="tiff_lzw"))
    lzw[60:200] = bytes(140)
    cut = (jpeg.rindex(b"\xff\xda") + len(jpeg)) // 2
    for data in (jpeg[:cut] + b"\xff\xd9", bytes(png), bytes(lzw)):
        try:
            decode_photo(data)
        except PhotoError as error:
            assert "damaged" in error.what
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GIF89a" + bytes(40), "GIF files are not supported"),
        (b"\xff\x0a" + bytes(40), "JPEG XL files are not supported"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL files are not supported"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000 files are not supported"),
        (b"8BPS" + bytes(40), "Photoshop files are not supported"),
        (b"\0\0\0\x1cftypavis" + bytes(40), "HEIC and AVIF photos are not supported"),
        (b"version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "this is a web page"),
        (b"\0\1\2\3", "not an image"),
    ],
)
def test_files_of_other_formats_are_named(data: bytes, what: str) -> None:
    with pytest.raises(PhotoError, match=what):
        decode_photo(data)
