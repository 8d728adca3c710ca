"""Where a photo was taken, as the phone wrote it into the file (Exif)."""

from __future__ import annotations

import io
import logging

from edge_runtime.position import Position


def read_exif_position(data: bytes) -> Position | None:
    """Of the encoded photo `data`; None where it does not say, or says nonsense."""
    import exifread  # only for photos that are enrolled or asked about with their positions
    from exifread.utils import get_gps_coords

    logging.getLogger("exifread").setLevel(logging.CRITICAL)  # a photo without Exif is no event
    try:
        tags = exifread.process_file(io.BytesIO(data), details=False, extract_thumbnail=False)
        place = get_gps_coords(tags)
        if place is None:
            return None
        heading = tags.get("GPS GPSImgDirection")
        return Position(place[0], place[1], None if heading is None else float(heading.values[0]))
    except Exception:  # what other people's cameras write is not worth losing a photo for
        return None
