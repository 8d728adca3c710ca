"""`edge-runtime enroll`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.cli.common import (
    engine_options,
    gallery_option,
    json_option,
    print_json,
    progress_bar,
    talk,
)
from edge_runtime.errors import InputError


@click.command("enroll")
@gallery_option
@engine_options
@click.option("--label", help="What the photos show. Without it, FOLDER has a sub-folder a label.")
@click.option("--camera", help="Enrol frames of this camera instead of photos; needs --label.")
@click.option(
    "--count", type=click.IntRange(1), default=5, show_default=True, help="Frames, with --camera."
)
@click.option(
    "--views/--no-views",
    default=True,
    show_default=True,
    help="Enrol parts of each picture too: found again from nearer by or off to a side.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Keep a small picture with each label.",
)
@click.option(
    "--position",
    metavar="LAT,LON[,HEADING] | photo",
    help='Where they were taken, in degrees; "photo": as each file says (Exif).',
)
@json_option
@click.argument("paths", nargs=-1, metavar="FOLDER | PHOTO...", type=click.Path(path_type=Path))
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    label: str | None,
    camera: str | None,
    count: int,
    views: bool,
    thumbnails: bool,
    position: str | None,
    as_json: bool,
    paths: tuple[Path, ...],
) -> int:
    """Teach it places and objects.

    A FOLDER has one sub-folder for each label, with photos in it. Or give --label and photos (or
    folders of photos) of that one place. Or give --label and --camera, and hold the camera at it.

    A photo that is enrolled already is left as it is, so the command can be run again and again.
    """
    if camera is not None and (label is None or paths):
        raise click.UsageError("--camera needs --label, and takes no photos")
    if camera is None and not paths:
        raise click.UsageError("name a folder, or --label with photos or --camera")

    from edge_runtime.camera import open_camera
    from edge_runtime.engine import open_engine
    from edge_runtime.enroll import (
        EnrollOptions,
        EnrollResult,
        enroll_frames,
        enroll_photos,
        labelled_photos,
    )
    from edge_runtime.gallery import Gallery, check_label
    from edge_runtime.image.decode import find_photos
    from edge_runtime.position import parse_position

    manner = EnrollOptions(views, thumbnails)
    if position is not None:
        place = parse_position(position) if position != "photo" else None
        manner = EnrollOptions(views, thumbnails, place or "photo")

    if label is not None:
        label = check_label(label)
        photos = [
            (label, photo)
            for path in paths
            for photo in (find_photos(path) if path.is_dir() else [path])
        ]
    else:
        photos = [pair for path in paths for pair in labelled_photos(path)]
    engine = open_engine(model, threads=threads)
    with Gallery(gallery, engine.model, create=True) as memory:
        if camera is not None and label is not None:
            with open_camera(camera) as frames:
                outcome = EnrollResult(
                    added=enroll_frames(engine, memory, label, frames, count, manner)
                )
        else:
            with progress_bar("enrolling", len(photos)) as advance:
                outcome = enroll_photos(engine, memory, photos, manner, step=lambda: advance(1))
        stats = memory.stats()
    if as_json:
        print_json(
            {
                "added": outcome.added,
                "already_enrolled": outcome.known,
                "faults": [
                    {"photo": fault.where, "what": fault.what, "remedy": fault.remedy}
                    for fault in outcome.faults
                ],
                "gallery": stats.path,
                "codes": stats.items,
                "labels": stats.labels,
            }
        )
    else:
        again = f", {outcome.known} were enrolled already" if outcome.known else ""
        click.echo(
            f"enrolled {outcome.added} pictures{again}; "
            f"the gallery has {stats.items} codes of {stats.labels} labels"
        )
    for fault in outcome.faults:
        talk(f"edge-runtime: {fault}")
    return InputError.exit_code if outcome.faults else 0
