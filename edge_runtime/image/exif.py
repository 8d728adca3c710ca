"""The position at which a photo was taken, from its Exif data."""

from __future__ import annotations

import io
import logging

from edge_runtime.position import Position


def read_exif_position(data: bytes) -> Position | None:
    """Return the position stored in the encoded photo `data`; None if missing or invalid."""
    import exifread  # needed only when positions are used
    from exifread.utils import get_gps_coords

    logging.getLogger("exifread").setLevel(logging.CRITICAL)  # missing Exif data is normal
    try:
        tags = exifread.process_file(io.BytesIO(data), details=False, extract_thumbnail=False)
        place = get_gps_coords(tags)
        if place is None:
            return None
        heading = tags.get("GPS GPSImgDirection")
        return Position(place[0], place[1], None if heading is None else float(heading.values[0]))
    except Exception:  # malformed Exif data must not make a photo unusable
        return None
