"""The photos and clips in a folder: which files are which, and which cannot be used, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import NoPhotosError, PhotoError, storage_error
from edge_runtime.image.header import is_image
from edge_runtime.shortage import shortage
from edge_runtime.system.files import open_regular

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp"})
SUFFIXES = JPEG_SUFFIXES | {".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"}
FOREIGN_SUFFIXES = frozenset(
    {".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".gif", ".apng", ".mng"}
    | {".jxl", ".jp2", ".j2k", ".j2c", ".jpf", ".jpm", ".jpx", ".jxr", ".wdp", ".hdp", ".jng"}
    | {".mpo", ".jps", ".pns", ".svg", ".svgz", ".psd", ".psb", ".xcf", ".kra", ".qoi", ".dds"}
    | {".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dcs", ".dng"}
    | {".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc", ".mef", ".mos", ".mrw", ".nef"}
    | {".nrw", ".orf", ".ori", ".pef", ".ptx", ".r3d", ".raf", ".raw", ".rw2", ".rwl", ".rwz"}
    | {".sr2", ".srf", ".srw", ".x3f", ".ico", ".cur", ".icns", ".tga", ".pcx", ".sgi", ".rgb"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".exr", ".hdr", ".xbm", ".xpm", ".ras"}
)
"""Photos and images of kinds that are not decoded. A folder's are named, not passed over."""
CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".3g2"}
    | {".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".mjpeg", ".mjpg"}
)
"""Video files. They are named where only photos are used."""
NOT_LABELS = frozenset(
    {"$recycle.bin", "recycler", "recycled", "recycle.bin", "system volume information"}
    | {"$winreagent", "$windows.~bt", "$windows.~ws", "$sysreset", "config.msi", "msdownld.tmp"}
    | {"lost+found", "lost.dir", "__macosx", "__pycache__", "thumbs", "temporary items"}
    | {"network trash folder", "network recycle bin", "#recycle", "#snapshot", "#system"}
    | {"@eadir", "@recycle", "@recently-snapshot", "@snapshot", "@sharebin", "@tmp", "@__thumb"}
    | {"@appconf", "@appdata", "@apphome", "@appshare", "@appstore", "@apptemp", "@database"}
    | {"@synoresource", "@synologydrive", "@s2s", "@sharesnap", "@sharesnap_restoring"}
)
"""Folders in which systems keep deleted files and previews, in lower case."""
_REPAIRED = re.compile(r"found\.\d{3}")
"""Folders in which chkdsk leaves what it found."""
_HEAD_BYTES = 16
MOST_BYTES = 1 << 29
"""Bytes of a photo file. An uncompressed one of 67 megapixels and 16 bits fits."""


@dataclass
class PhotoFiles:
    """What a folder contains."""

    photos: list[Path] = field(default_factory=list)
    """Sorted by path."""
    clips: list[Path] = field(default_factory=list)
    """Sorted by path; empty unless clips are wanted."""
    faults: list[PhotoError] = field(default_factory=list)
    """One for each file and folder that cannot be read, and for each kind that is not decoded."""


def is_clip_name(path: Path) -> bool:
    """Return whether the name is that of a video file."""
    return path.suffix.lower() in CLIP_SUFFIXES


def search_photos(folder: Path, *, clips: bool = False) -> PhotoFiles:
    """Return the photos in `folder` and its sub-folders, and what in it cannot be used.

    With `clips`, video files count as well; without, they cannot be used. Hidden files and folders
    are left out, and those in which systems keep deleted files. Raises `NoPhotosError` if nothing
    remains.
    """
    found, foreign = PhotoFiles(), dict[str, list[Path]]()
    for path in _files(folder, found.faults):
        suffix = path.suffix.lower()
        is_clip = suffix in CLIP_SUFFIXES
        if is_clip and not clips:
            foreign.setdefault(suffix, []).append(path)
        elif suffix not in SUFFIXES and not is_clip:
            if is_unused_image(path):
                foreign.setdefault(suffix, []).append(path)
        elif path.is_file():
            (found.clips if is_clip else found.photos).append(path)
        else:
            found.faults.append(unreadable(path))
    found.photos.sort()
    found.clips.sort()
    found.faults += [
        not_decoded(suffix, min(paths), len(paths)) for suffix, paths in sorted(foreign.items())
    ]
    if not found.photos and not found.clips:
        raise no_photos(folder, found.faults)
    return found


def find_photos(folder: Path) -> list[Path]:
    """Return the photos of `search_photos`; raises `NoPhotosError` if there are none."""
    return search_photos(folder).photos


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of the photo file at `path`.

    Raises `PhotoError`, and `ResourceError` if no more files can be opened.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > MOST_BYTES else file.read(MOST_BYTES + 1)
    except OSError as error:
        raise photo_fault(error, path) from error
    if max(size, len(data)) > MOST_BYTES:
        raise PhotoError(
            f"too large for a photo: {max(size, len(data)) / 1e9:.1f} GB",
            where=path,
            remedy=f"use a file of at most {MOST_BYTES / 1e6:.0f} MB",
        )
    return data


def _files(folder: Path, faults: list[PhotoError]) -> Iterator[Path]:
    """Yield all files below `folder` that are not hidden; add what cannot be read to `faults`."""

    def fail(error: OSError) -> None:
        faults.append(photo_fault(error, error.filename))

    for place, folders, files in os.walk(folder, onerror=fail):
        kept = sorted(name for name in folders if is_content(name))
        linked = [Path(place, name) for name in kept if Path(place, name).is_symlink()]
        faults += map(linked_folder, linked)
        folders[:] = [name for name in kept if Path(place, name) not in linked]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def is_content(name: str) -> bool:
    """Return whether a folder of this `name` is searched for photos."""
    lower = name.lower()
    return not (name.startswith(".") or lower in NOT_LABELS or _REPAIRED.fullmatch(lower))


def is_unused_image(path: Path) -> bool:
    """Return whether the file, whose name is not that of a photo, is an image by name or content.

    Of other names the first bytes decide, so that photos without a suffix are not passed over.
    """
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        return True
    try:
        with open_regular(path) as file:
            return is_image(file.read(_HEAD_BYTES))
    except OSError:
        return False


def linked_folder(path: Path) -> PhotoError:
    """Return the fault of a link to a folder."""
    return PhotoError(
        "this is a link to a folder, which is not followed",
        where=path,
        remedy="move or copy the folder itself here",
    )


def unreadable(path: Path) -> PhotoError:
    """Return the fault of a path that is not a regular file."""
    try:
        open_regular(path).close()
    except OSError as error:
        return photo_fault(error, path)
    return PhotoError("it has just changed", where=path, remedy="try again")


def photo_fault(error: OSError, where: object) -> PhotoError:
    """Return the error of the system as the fault of a file or folder.

    Raises `ResourceError` if the system's limits are the cause: then no file is at fault.
    """
    if short := shortage(error, where):
        raise short from error
    fault = storage_error(error, where)
    what, remedy = (fault.what, fault.remedy) if fault else (str(error), "")
    return PhotoError(what, where=where, remedy=remedy)


def not_decoded(suffix: str, first: Path, count: int) -> PhotoError:
    """Return the fault of `count` files of a kind that is not decoded."""
    more = "" if count == 1 else f", and {count - 1} more"
    if suffix in CLIP_SUFFIXES:
        return PhotoError(
            f"{suffix} files are clips, not photos{more}",
            where=first,
            remedy="use them with edge-runtime enroll or query",
        )
    if suffix not in FOREIGN_SUFFIXES:
        return PhotoError(
            f"this is an image, but its name is not that of a photo{more}",
            where=first,
            remedy="rename it, so that it ends in .jpg or in the suffix of its kind",
        )
    return PhotoError(
        f"{suffix} files are not supported{more}", where=first, remedy="convert them to JPEG first"
    )


def no_photos(folder: Path, faults: list[PhotoError]) -> NoPhotosError:
    """Return the error of a folder that has no photos, but these `faults`."""
    if not folder.is_dir():
        return NoPhotosError("no such folder", where=folder, remedy="check the path")
    if not faults:
        return NoPhotosError(
            "no photos in this folder",
            where=folder,
            remedy="pass a folder that contains " + ", ".join(sorted(SUFFIXES)) + " files",
        )
    first, more = faults[0], f" ({len(faults) - 1} more faults)" if len(faults) > 1 else ""
    if first.where == str(folder):
        return NoPhotosError(first.what, where=folder, remedy=first.remedy)
    return NoPhotosError(
        f"no readable photos: {first.where}: {first.what}{more}",
        where=folder,
        remedy=first.remedy,
    )
