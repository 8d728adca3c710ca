"""What a roll-out signs: the bundle as a tar, and the gallery of its model as a full file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_runtime.desk.folder import Desk
from edge_runtime.errors import DeskError, storage_error
from edge_runtime.fleet.content import ALL, content_digest, every_label, read_pictures
from edge_runtime.fleet.operations import Add, Head, write_version
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.backup import backup
from edge_runtime.gallery.rows import Meta
from edge_runtime.system.durable import make_folder
from edge_runtime.trust.manifest import MANIFEST, MANIFEST_SIGNATURE


def archive(bundle: Path, manifest: dict[str, Any]) -> bytes:
    """Return the bundle as a tar; the same bytes for the same bundle."""
    names = sorted({MANIFEST, *manifest["files"]})
    if (bundle / MANIFEST_SIGNATURE).is_file():
        names.append(MANIFEST_SIGNATURE)
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in names:
                data = (bundle / name).read_bytes()
                member = tarfile.TarInfo(f"model/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    except OSError as error:
        raise storage_error(error, error.filename or bundle) or error from error
    return out.getvalue()


def full_file(path: Path, version: int) -> bytes:
    """Return the gallery at `path` as a full file of the present version."""
    with Gallery(path, read_only=True) as gallery:
        labels = list(every_label(gallery))
        meta = Meta(gallery.model_id, gallery.bits)
        with gallery.reading() as connection:

            def pictures() -> Iterator[Add]:
                return read_pictures(connection, path, meta, ALL)

            present = {add.label for add in pictures()}
            labels = [label for label in labels if label.label in present]
            content = content_digest(pictures(), labels)
            file = io.BytesIO()
            head = Head(version, None, meta.model_id, meta.bits, content)
            write_version(file, head, (*pictures(), *labels))
    return file.getvalue()


def kept(desk: Desk, rollout: str, which: str) -> Path:
    """Return where the desk keeps a gallery of a roll-out: the "new" one, or that "before"."""
    return desk.path / "rollout" / f"{rollout}.{which}.sqlite"


def keep(gallery: Path, to: Path) -> None:
    """Copy a gallery into the desk's folder, in place of an earlier copy."""
    try:
        make_folder(to.parent)
        to.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, to) or error from error
    backup(gallery, to)


def model_of(path: Path) -> str:
    """Return the id of the model of a gallery; raises `GalleryError`."""
    with Gallery(path, read_only=True) as gallery:
        return gallery.model_id


def check_gallery(desk: Desk, model: dict[str, Any], gallery: Path | None, bundle: Path) -> None:
    """Raise `DeskError` unless boards with the model of `bundle` have a gallery that it can use."""
    model_id, present = str(model["id"]), model_of(desk.gallery_path)
    accepted = {model_id, *map(str, model.get("same_codes_as") or ())}
    if gallery is None:
        if present not in accepted:
            raise DeskError(
                f"its model {model_id[:12]} cannot use the codes of the desk's gallery, which "
                f"belongs to {present[:12]}",
                where=bundle,
                remedy="copy the gallery, then edge-runtime gallery rehash with the new model, and "
                "name the copy with --gallery",
            )
    elif present in accepted:
        raise DeskError(
            "the model can use the desk's gallery",
            where=gallery,
            remedy="leave --gallery out",
        )
    elif (found := model_of(gallery)) != model_id:
        raise DeskError(
            f"belongs to model {found[:12]}, but the bundle has {model_id[:12]}",
            where=gallery,
            remedy="edge-runtime gallery rehash --model BUNDLE",
        )


def lost_between(before: Path, after: Path) -> int:
    """Return how many pictures of one gallery another one does not have, under any label."""
    return len(_digests(before) - _digests(after))


def _digests(path: Path) -> set[bytes]:
    with Gallery(path, read_only=True) as gallery, gallery.reading() as connection:
        meta = Meta(gallery.model_id, gallery.bits)
        return {add.digest for add in read_pictures(connection, path, meta, ALL)}
