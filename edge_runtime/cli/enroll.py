"""`edge-runtime enroll`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.clips import sound_option
from edge_runtime.cli.common import (
    camera_password,
    count_of,
    echo,
    engine_options,
    gallery_option,
    json_option,
    password_file_option,
    pictures_and_codes,
    print_json,
    print_message,
    progress_bar,
)
from edge_runtime.errors import InputError

if TYPE_CHECKING:
    from edge_runtime.enroll import EnrollResult
    from edge_runtime.gallery import Stats
    from edge_runtime.gallery.features.refit import Refit


@click.command("enroll")
@gallery_option
@engine_options
@click.option(
    "--label", help="The label of all photos. Without it, FOLDER has one sub-folder per label."
)
@click.option("--camera", help="Enroll frames of this camera instead of photos. Needs --label.")
@password_file_option
@click.option(
    "--count",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of frames, with --camera.",
)
@click.option(
    "--views/--no-views",
    default=True,
    show_default=True,
    help="Also enroll five crops of each picture, so that it is recognized from closer up or "
    "off-center.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Store a thumbnail of each label's first picture.",
)
@click.option(
    "--keep-pictures/--no-keep-pictures",
    help="Also keep each picture in the gallery, about 29 kB, so that the gallery can be moved to "
    "another model (gallery rehash).",
)
@click.option(
    "--position",
    metavar="LAT,LON[,HEADING] | photo",
    help='Where the pictures were taken, in degrees; "photo" reads the Exif data of each photo.',
)
@click.option(
    "--refit/--no-refit",
    default=True,
    show_default=True,
    help="Fit to what is enrolled when enough has changed; see: edge-runtime gallery refit --help.",
)
@click.option(
    "--frames",
    "most_frames",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="Maximum number of frames that are enrolled from a clip.",
)
@sound_option
@json_option
@click.argument(
    "paths", nargs=-1, metavar="FOLDER | PHOTO... | CLIP...", type=click.Path(path_type=Path)
)
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    label: str | None,
    camera: str | None,
    password_file: str | None,
    count: int,
    views: bool,
    thumbnails: bool,
    keep_pictures: bool,
    position: str | None,
    refit: bool,
    most_frames: int,
    sound: bool,
    as_json: bool,
    paths: tuple[Path, ...],
) -> int:
    """Enroll photos and clips of places and objects.

    FOLDER contains one sub-folder per label. Alternatively, give --label and photos and clips (or
    folders of them) of that one place or object, or give --label and --camera and point the
    camera at it. From a clip (a video file), frames that are sharp and differ from each other are
    enrolled.

    Photos that are already enrolled are skipped, so it is safe to repeat the command. If they lack
    features, because an earlier version enrolled them, or the picture with --keep-pictures, these
    are added.
    """
    if camera is not None and (label is None or paths):
        raise click.UsageError("--camera requires --label, and cannot be combined with photos")
    if camera is None and not paths:
        raise click.UsageError("give a folder, or --label with photos or --camera")

    password = camera_password(camera, password_file)
    from edge_runtime.camera import CameraOptions, open_camera
    from edge_runtime.clips.enroll import enroll_files
    from edge_runtime.engine import open_engine
    from edge_runtime.enroll import EnrollOptions, enroll_frames, fit_if_due
    from edge_runtime.gallery import Gallery, check_label
    from edge_runtime.gallery.advice.warning import enrollment_warning
    from edge_runtime.image.photo_files import is_clip_name
    from edge_runtime.labeled_files import LabeledFiles
    from edge_runtime.position import parse_position

    options = EnrollOptions(views, thumbnails, keep_pictures=keep_pictures)
    if position is not None:
        fixed = parse_position(position) if position != "photo" else None
        options = replace(options, position=fixed or "photo")

    files = LabeledFiles()
    if label is not None:
        label = check_label(label)
        files.add(label, paths)
    elif any(is_clip_name(path) and not path.is_dir() for path in paths):
        raise click.UsageError("a clip requires --label, or a folder with the name of its label")
    else:
        for path in paths:
            files.add_folder(path)
    engine = open_engine(model, threads=threads)
    with Gallery(gallery, engine.model, create=True) as opened:
        if camera is not None and label is not None:
            with open_camera(camera, CameraOptions(password=password)) as frames:
                result = enroll_frames(engine, opened, label, frames, count, options)
        else:
            with progress_bar("enrolling", len(files)) as advance:
                result = enroll_files(
                    *(engine, opened, files, options, most_frames),
                    sound=sound,
                    step=lambda: advance(1),
                )
        fitted = fit_if_due(engine, opened) if refit else None
        stats = opened.stats()
        enrolled = files.labels | ({label} if label else set())
        warning = enrollment_warning(opened, enrolled) if result.pictures_added else ""
    if as_json:
        print_json(_as_json(result, stats, fitted))
    else:
        heard = f" and {count_of(result.sounds_added, 'sound')}" if result.sounds_added else ""
        echo(
            f"enrolled {pictures_and_codes(result.pictures_added, result.codes_added)}{heard}"
            f"{_known(result)}; "
            f"the gallery has {pictures_and_codes(stats.pictures, stats.codes)} "
            f"under {count_of(stats.labels, 'label')}"
        )
        if fitted is not None and fitted.kept:
            echo(fitted.summary())
        if engine.model.features and (note := stats.lacking_features()):
            print_message(note)
    for note in result.notes:
        print_message(f"edge-runtime: {note}")
    if warning:
        print_message(f"edge-runtime: {warning}")
    for fault in result.faults:
        print_message(f"edge-runtime: {fault}")
    return InputError.exit_code if result.faults else 0


def _known(result: EnrollResult) -> str:
    if not result.pictures_known:
        return ""
    completed = (
        f", {count_of(result.pictures_completed, 'picture')} completed"
        if result.pictures_completed
        else ""
    )
    return f" ({count_of(result.pictures_known, 'picture')} already enrolled{completed})"


def _as_json(result: EnrollResult, stats: Stats, fitted: Refit | None) -> dict[str, object]:
    return {
        "pictures_added": result.pictures_added,
        "codes_added": result.codes_added,
        "pictures_known": result.pictures_known,
        "pictures_completed": result.pictures_completed,
        "sounds_added": result.sounds_added,
        "faults": [
            {"photo": fault.where, "what": fault.what, "remedy": fault.remedy}
            for fault in result.faults
        ],
        "gallery": stats.path,
        "pictures": stats.pictures,
        "codes": stats.codes,
        "labels": stats.labels,
        "refit": fitted and fitted.details(),
    }
