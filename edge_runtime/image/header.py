"""Read the header of a photo file before any memory is allocated to decode it.

`read_header` knows every accepted format. `check_budget` refuses what would take too much memory.
For a camera's JPEG frame, `jpeg_header.read_jpeg(data, "frame")` gives the size, the number of
scans, and `coefficient_bytes`; `jpeg_frame.read_frame` has the smaller bounds of cameras.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from edge_runtime.errors import PhotoError
from edge_runtime.image.jpeg_header import read_jpeg
from edge_runtime.image.tiff_header import exif_orientation, read_tiff
from edge_runtime.system.files import describe_pointer

MAX_PIXELS = 1 << 26
"""Decoded pixels."""
MAX_DECODE_BYTES = 448 << 20
"""Memory that decoding one photo may take, the result included: 67 megapixels of an opaque PNG."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 1 << 16
"""Parts of a PNG or WebP file. Encoders write 8 KB of a PNG into each at least, so a file that is
not too large has fewer; small ones would cost far more time and memory than the picture."""
_HEIF_BRANDS = (
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    *(b"avif", b"avis"),
)
_OTHERS = (
    (b"GIF8", "GIF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\0\0\x01\0", "icon"),
)
"""First bytes of other formats, and their names."""
_PICTURES = tuple(magic for magic, _ in _OTHERS[:6])
"""Those of pictures alone."""
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_AGAIN = "copy the file again"
_PNG_BYTES, _BMP_BYTES, _TIFF_BYTES = 6.4, 6.4, 13.5
"""Bytes per pixel while a photo is decoded, measured: OpenCV copies the decoder's result once. With
alpha, or 16 bits, there are more. A TIFF is also copied from the child process that decodes it."""
_ALPHA = 4 / 3
_BMP_MASKS_16 = ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F))
_BMP_BYTES_32 = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
_WEBP_BYTES, _WEBP_ALPHA_BYTES, _WEBP_ANIMATED_BYTES = 6.5, 10.0, 14.0


class Header(NamedTuple):
    """The properties that determine whether and how a file is decoded."""

    kind: str
    width: int
    """Pixels, as stored; `orientation` may exchange the sides."""
    height: int
    whole: bool
    """False if the end of the file is missing."""
    missing: bool = False
    """Whether there is far too little data for the size."""
    alpha: bool = False
    orientation: int = 1
    """Exif number, 1 to 8."""
    multiplied: bool = False
    """Whether the decoder gives colors that are multiplied by alpha."""
    depth: int = 8
    """Bits per channel."""
    scans: int = 1
    """Passes over the picture; more than 1 only in JPEGs."""
    pages: int = 1
    """Pictures in the file; the first one is decoded."""
    pixel_bytes: float = 3.5
    """Memory for each decoded pixel, the result included."""
    fixed_bytes: int = 0
    """Memory that does not shrink if the photo is decoded at a reduced size."""
    span: tuple[int, int] = (0, 0)
    """Begin and end of a JPEG's compressed data."""

    def pixels(self, scale: int) -> int:
        """Return the number of pixels in memory at once, if sides are divided by `scale`."""
        whole = self.width * self.height
        return whole if self.fixed_bytes else -(-whole // (scale * scale))

    def decode_bytes(self, scale: int) -> int:
        """Return the memory that decoding takes, if sides are divided by `scale`."""
        pixels = -(-self.width * self.height // (scale * scale))
        return int(pixels * self.pixel_bytes) + self.fixed_bytes


def check_budget(
    header: Header, scale: int, where: object, *, most_pixels: float = MAX_PIXELS
) -> None:
    """Raise `PhotoError` if decoding at 1 / `scale` takes more memory than one photo may."""
    size = f"{header.width} x {header.height} pixels"
    if header.pixels(scale) > most_pixels:
        several = "JPEG in several scans" if header.fixed_bytes else "image"
        raise PhotoError(
            f"{several} is too large to decode: {size}",
            where=where,
            remedy=f"use a photo of at most {most_pixels / 1e6:.3g} megapixels",
        )
    needed = header.decode_bytes(scale)
    if needed > MAX_DECODE_BYTES:
        raise PhotoError(
            f"{header.kind} of {size} is too large to decode: it takes "
            f"{needed >> 20} MiB of memory, and a photo may take {MAX_DECODE_BYTES >> 20}",
            where=where,
            remedy="save it as a JPEG that is not progressive, or make it smaller",
        )


def read_header(data: bytes, where: object) -> Header:
    """Return the header of the encoded photo `data`.

    Raises `PhotoError` if the format is not supported. `where` names the photo in errors.
    """
    if not data:
        raise PhotoError("the file is empty", where=where, remedy=_AGAIN)
    if data[:3] == b"\xff\xd8\xff" or (data[:2] == b"\xff\xd8" and b"\xff\xda" in data):
        jpeg = read_jpeg(data, where)
        return Header(
            "JPEG",
            jpeg.size.width,
            jpeg.size.height,
            jpeg.whole,
            jpeg.missing,
            orientation=jpeg.orientation,
            scans=jpeg.scans,
            fixed_bytes=jpeg.coefficient_bytes,
            span=jpeg.span,
        )
    if data[:8] == PNG_MAGIC:
        return _read_png(data, where)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data, where)
    if data[:2] == b"BM" and len(data) >= 26:
        return _read_bmp(data, where)
    if data[:4] in _TIFF_MAGICS:
        return _read_tiff(data, where)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise PhotoError(
            "HEIC and AVIF photos are not supported",
            where=where,
            remedy='convert it to JPEG; on an iPhone, set the camera format to "Most Compatible"',
        )
    raise _foreign(data, where)


def is_image(head: bytes) -> bool:
    """Return whether a file that begins with these 16 bytes is a picture of a usual kind."""
    return (
        head.startswith((b"\xff\xd8\xff", PNG_MAGIC, *_TIFF_MAGICS, *_PICTURES))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS)
    )


def _foreign(data: bytes, where: object) -> PhotoError:
    """Return the error for a file of another format, which is named if it is known."""
    if pointer := describe_pointer(data[:512]):
        what, remedy = pointer
        return PhotoError(f"this is {what}", where=where, remedy=remedy)
    for magic, kind in _OTHERS:
        if data.startswith(magic):
            return PhotoError(
                f"{kind} files are not supported", where=where, remedy="convert it to JPEG or PNG"
            )
    return PhotoError("not an image", where=where, remedy="use a JPEG, PNG, WebP, BMP or TIFF file")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, begin and end of each whole chunk of the PNG `data`."""
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield data[at + 4 : at + 8], at, end
        at = end


def _read_png(data: bytes, where: object) -> Header:
    """Walk the chunks; transparency is a color type or a separate chunk."""
    width = height = depth = color = 0
    alpha = whole = False
    orientation = 1
    for index, (name, at, end) in enumerate(png_chunks(data)):
        if index == MAX_CHUNKS:
            raise _too_many_chunks("PNG", where)
        content = data[at + 8 : end - 4] if name in (b"IHDR", b"eXIf") else b""
        if name == b"IHDR" and len(content) == 13 and not width:
            width, height, depth, color = struct.unpack(">IIBB", content[:10])
            alpha = color in (4, 6)
        elif name == b"eXIf":
            orientation = exif_orientation(content)
        alpha |= name == b"tRNS"
        whole = name == b"IEND"
        if whole:
            break
    if not width or not height:
        what = "damaged PNG: it has no size" if whole else "truncated PNG"
        raise PhotoError(what, where=where, remedy=_AGAIN)
    # Blending takes no more memory: the result replaces the decoded pixels.
    each = _PNG_BYTES * (_ALPHA if alpha else 1) * (2 if alpha and depth == 16 else 1)
    return Header(
        "PNG",
        width,
        height,
        whole,
        alpha=alpha,
        orientation=orientation,
        depth=depth,
        pixel_bytes=each,
    )


def _read_webp(data: bytes, where: object) -> Header:
    """Read the chunk of the picture, or the extended header that precedes it."""
    whole = len(data) >= int.from_bytes(data[4:8], "little") + 8
    name, head = data[12:16], data[20:30]
    if len(head) < (5 if name == b"VP8L" else 10):
        raise PhotoError("truncated WebP", where=where, remedy=_AGAIN)
    alpha, orientation, each, pages = False, 1, _WEBP_BYTES, 1
    if name == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack("<HH", head[6:10]))
    elif name == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        alpha = bool(bits >> 28 & 1)
    elif name == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
        alpha = bool(head[0] & 0x10)
        if head[0] & 0x02:
            pages, each = 2, _WEBP_ANIMATED_BYTES  # how many it has does not matter
        orientation = _webp_orientation(data, where)
    else:
        raise PhotoError("damaged WebP: it has no picture", where=where, remedy=_AGAIN)
    if not width or not height:
        raise PhotoError("damaged WebP: it has no size", where=where, remedy=_AGAIN)
    each = max(each, _WEBP_ALPHA_BYTES) if alpha else each
    return Header(
        "WebP",
        width,
        height,
        whole,
        alpha=alpha,
        orientation=orientation,
        pages=pages,
        pixel_bytes=each,
    )


def _webp_orientation(data: bytes, where: object) -> int:
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return 1
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            return exif_orientation(data[at + 8 : at + 8 + size])
        at += 8 + size + (size & 1)
    raise _too_many_chunks("WebP", where)


def _too_many_chunks(kind: str, where: object) -> PhotoError:
    return PhotoError(
        f"{kind} with more than {MAX_CHUNKS} parts", where=where, remedy="save it again"
    )


def _read_bmp(data: bytes, where: object) -> Header:
    """Read the information header, whose first number is its length."""
    size, length = (int.from_bytes(data[at : at + 4], "little") for at in (2, 14))
    depth = compression = 0
    if length == 12:  # OS/2 1: 16-bit sizes
        width, height, _, depth = struct.unpack("<HHHH", data[18:26])
    elif length in (16, 40, 52, 56, 64, 108, 124) and len(data) >= 34:
        width, height = struct.unpack("<ii", data[18:26])
        depth = int.from_bytes(data[28:30], "little")
        compression = int.from_bytes(data[30:34], "little") if length > 16 else 0
    else:
        raise _bmp_unsupported(f"BMP files with a header of {length} bytes", where)
    if depth not in (1, 4, 8, 16, 24, 32) or length == 16:
        raise _bmp_unsupported(f"BMP files with {depth} bits per pixel", where)
    if compression > (2 if length == 64 else 3):
        raise _bmp_unsupported(f"BMP files with compression {compression}", where)
    alpha = compression == 3 and _check_masks(data, length, depth, where)
    if not width or not height:
        raise PhotoError("damaged BMP: it has no size", where=where, remedy=_AGAIN)
    each = _BMP_BYTES * (_ALPHA if alpha else 1)
    whole = len(data) >= size
    return Header("BMP", abs(width), abs(height), whole, alpha=alpha, pixel_bytes=each)


def _check_masks(data: bytes, length: int, depth: int, where: object) -> bool:
    """Raise `PhotoError` for color masks that OpenCV ignores; return whether there is alpha."""
    masks = [int.from_bytes(data[at : at + 4], "little") for at in range(54, 70, 4)]
    colors = tuple(masks[:3])
    if depth == 16:
        usual = length == 40 and colors in _BMP_MASKS_16
    elif length < 56:  # the masks follow the header, or it has no room for alpha
        usual = colors == (0xFF0000, 0xFF00, 0xFF)
    else:
        usual = set(colors) <= set(_BMP_BYTES_32) and len(set(colors)) == 3
    if depth not in (16, 32) or not usual:
        raise _bmp_unsupported("BMP files with such color masks", where)
    return length >= 56 and masks[3] in _BMP_BYTES_32 and masks[3] not in colors


def _bmp_unsupported(what: str, where: object) -> PhotoError:
    return PhotoError(f"{what} are not supported", where=where, remedy="convert it to PNG")


def _read_tiff(data: bytes, where: object) -> Header:
    tiff = read_tiff(data, where)
    each = _TIFF_BYTES * (_ALPHA if tiff.alpha else 1) * (2 if tiff.depth == 16 else 1)
    return Header(
        "TIFF",
        tiff.width,
        tiff.height,
        True,
        alpha=tiff.alpha,
        orientation=tiff.orientation,
        multiplied=tiff.multiplied or tiff.depth < 16,  # libtiff itself multiplies 8-bit colors
        depth=tiff.depth,
        pages=tiff.pages,
        pixel_bytes=each,
    )
