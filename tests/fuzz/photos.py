"""The reader of photo files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from tests.fuzz.reader import Reader

_SIDE = 48


def reader() -> Reader:
    """Return the reader of photos that are enrolled, queried or uploaded."""
    from edge_runtime.errors import PhotoError, ResourceError
    from edge_runtime.image.decode import decode_photo

    return Reader("photo", seeds, decode_photo, (PhotoError, ResourceError))


def seeds() -> list[bytes]:
    """Return a small photo of each kind."""
    from PIL import Image

    pixels = np.random.default_rng(20).integers(0, 255, (_SIDE, _SIDE, 4), np.uint8)
    color = Image.fromarray(pixels).convert("RGB")
    alpha, palette = Image.fromarray(pixels), color.quantize(32)
    exif = Image.Exif()
    exif[0x0112] = 6

    def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **options)
        return out.getvalue()

    return [
        encode(color, "JPEG", exif=exif),
        encode(color, "JPEG", progressive=True),
        encode(color.convert("CMYK"), "JPEG"),
        encode(color.convert("L"), "JPEG", restart_marker_rows=1),
        encode(color, "PNG", exif=exif),
        encode(alpha, "PNG"),
        encode(palette, "PNG", transparency=3),
        encode(color.convert("1"), "PNG"),
        encode(color, "WEBP", exif=exif),
        encode(alpha, "WEBP", lossless=True),
        encode(alpha, "WEBP", quality=50),
        encode(color, "WEBP", save_all=True, append_images=[color.rotate(90)]),
        encode(color, "BMP"),
        encode(palette, "BMP"),
        encode(color.convert("1"), "BMP"),
        encode(color, "TIFF", save_all=True, append_images=[color]),
        encode(alpha, "TIFF", compression="tiff_lzw"),
        encode(palette, "TIFF", compression="tiff_adobe_deflate"),
        encode(color, "TIFF", compression="jpeg"),
        encode(color.convert("1"), "TIFF", compression="group4"),
        encode(color.convert("F"), "TIFF"),
        encode(color.convert("I;16"), "TIFF"),
    ]
