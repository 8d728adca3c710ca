"""A TIFF writer for the kinds that no library writes: one page, one strip or plane each."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

SHORT, LONG = 3, 4


def tiff(
    pixels: NDArray[Any], tags: Mapping[int, object] | None = None, *, order: str = "<"
) -> bytes:
    """Return `pixels` (H x W, or H x W x C) as a TIFF; `tags` are added or replace others.

    Packed bits are given as uint8 with the depth in tag 258 and the width in tag 256.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    given: dict[int, Any] = dict(tags or {})
    planes = [pixels[..., each] for each in range(channels)] if given.get(284) == 2 else [pixels]
    strips = [
        plane.astype(plane.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
        for plane in planes
    ]
    values: dict[int, Any] = {
        256: width,
        257: height,
        258: [8 * pixels.itemsize] * channels,
        259: 1,
        262: 2 if channels > 2 else 1,
        277: channels,
        278: height,
        279: [len(strip) for strip in strips],
    }
    values[273] = [8 + sum(len(each) for each in strips[:index]) for index in range(len(strips))]
    values.update(given)
    at = 8 + sum(map(len, strips))
    entries, extra = b"", b""
    extra_at = at + 2 + 12 * len(values) + 4
    for tag in sorted(values):
        value = values[tag] if isinstance(values[tag], list) else [values[tag]]
        kind, code = (LONG, "I") if tag in (273, 279, 256, 257, 278) else (SHORT, "H")
        content = struct.pack(f"{order}{len(value)}{code}", *value)
        if len(content) > 4:
            place = struct.pack(f"{order}I", extra_at + len(extra))
            extra += content
        else:
            place = content.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(value)) + place
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}I", at)
    count = struct.pack(f"{order}H", len(values))
    return head + b"".join(strips) + count + entries + bytes(4) + extra
