"""`edge-runtime gallery`: what is enrolled, and under which labels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import (
    already_enrolled,
    busy,
    echo,
    engine_options,
    gallery_option,
    json_option,
    pictures_and_codes,
    print_json,
    print_message,
)
from edge_runtime.cli.process.restart import open_to_read
from edge_runtime.system.printable import printable_json

if TYPE_CHECKING:
    from edge_runtime.gallery.features.refit import Refit


@click.command("list")
@gallery_option
@json_option
def list_labels(gallery: Path, as_json: bool) -> None:
    """List the labels with their numbers of pictures and codes."""
    with open_to_read(gallery) as opened:
        labels = opened.label_counts()
    if as_json:
        print_json([{"label": label, **counts._asdict()} for label, counts in labels.items()])
        return
    if labels:
        echo(f"{'pictures':>8}  {'codes':>8}  label")
    for label, counts in labels.items():
        echo(f"{counts.pictures:>8}  {counts.codes:>8}  {label}")


@click.command("stats")
@gallery_option
@json_option
def show_stats(gallery: Path, as_json: bool) -> None:
    """Show the model, the counts and the size of the gallery."""
    with open_to_read(gallery) as opened:
        stats = opened.stats()
    if as_json:
        print_json(asdict(stats))
    else:
        for key, value in asdict(stats).items():
            echo(f"{key:<13} {value}")
        if note := stats.lacking_features():
            print_message(note)


@click.command("remove")
@gallery_option
@json_option
@click.option(
    "--id",
    "ids",
    type=click.IntRange(max=2**63 - 1),
    multiple=True,
    help="Remove the code with this id. May be repeated.",
)
@click.argument("label", required=False)
def remove(gallery: Path, as_json: bool, ids: tuple[int, ...], label: str | None) -> None:
    """Remove LABEL with all its pictures, or single codes by --id."""
    if label is None and not ids:
        raise click.UsageError("give a label, or ids of codes with --id")

    from edge_runtime.gallery import Gallery

    with Gallery(gallery) as opened:
        removed = opened.remove(label=label, ids=ids)
    if as_json:
        print_json({"pictures_removed": removed.pictures, "codes_removed": removed.codes})
    else:
        echo(f"removed {pictures_and_codes(*removed)}")


@click.command("relabel")
@gallery_option
@json_option
@click.argument("old")
@click.argument("new")
def relabel(gallery: Path, as_json: bool, old: str, new: str) -> None:
    """Change the label OLD to NEW. If NEW exists, the two are merged."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery) as opened:
        moved = opened.relabel(old, new).counts
    if as_json:
        print_json({"pictures_moved": moved.pictures, "codes_moved": moved.codes})
    else:
        echo(f"moved {pictures_and_codes(*moved)} to the label {new}")


@click.command("merge")
@gallery_option
@engine_options
@json_option
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
def merge(gallery: Path, model: Path | None, threads: int, as_json: bool, source: Path) -> None:
    """Add the content of the gallery file SOURCE.

    Labels, payloads, thumbnails, positions, features and kept pictures are included. What is
    enrolled already stays as it is. If enough is new, the code is fitted to all of it, in the
    longer one of both lengths.
    """
    from edge_runtime.errors import GalleryModelMismatchError, ModelError
    from edge_runtime.gallery import Gallery

    with busy("merging"), Gallery(source, read_only=True) as other, Gallery(gallery) as opened:
        counts = opened.merge(other)
        due = opened.refit_due()
        bits = max(opened.searched_bits(), other.searched_bits())
    fitted, fault = None, ""
    if due:
        try:
            fitted = _fit(gallery, model, threads, bits)
        except (ModelError, GalleryModelMismatchError) as error:  # what was added stays
            fault = f"edge-runtime: the code was not fitted to the new content: {error}"
    if as_json:
        print_json({**counts._asdict(), "refit": fitted and fitted.details()})
    else:
        echo(
            f"added {pictures_and_codes(counts.pictures_added, counts.codes_added)}"
            f"{already_enrolled(counts.pictures_known)}"
        )
        if fitted is not None and fitted.kept:
            echo(fitted.summary())
    if fault:
        print_message(fault)


def _fit(gallery: Path, model: Path | None, threads: int, bits: int) -> Refit | None:
    """Fit a code of `bits` bits to the gallery with the prior of its model."""
    from edge_runtime.engine import open_engine
    from edge_runtime.enroll import fit_if_due
    from edge_runtime.gallery import Gallery

    engine = open_engine(model, threads=threads)
    with busy("fitting the code"), Gallery(gallery, engine.model) as opened:
        return fit_if_due(engine, opened, bits)


@click.command("payload")
@gallery_option
@click.argument("label")
@click.argument("text", metavar="[JSON]", required=False)
def payload(gallery: Path, label: str, text: str | None) -> None:
    """Store JSON of your own with LABEL, or print the stored JSON."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=text is None) as opened:
        if text is None:
            click.echo(printable_json(opened.payload(label)))
        else:
            opened.set_payload(label, text)


@click.command("thumbnail")
@gallery_option
@click.argument("label")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def thumbnail(gallery: Path, label: str, target: Path) -> None:
    """Write the thumbnail of LABEL, a JPEG, to the file TARGET."""
    from edge_runtime.errors import NotEnrolledError, storage_error
    from edge_runtime.system.durable import write_file

    with open_to_read(gallery) as opened:
        jpeg = opened.thumbnail(label)
    if not jpeg:
        raise NotEnrolledError(
            "the label has no thumbnail", where=label, remedy="enroll a photo of it"
        )
    try:
        write_file(target, jpeg)
    except OSError as error:
        raise storage_error(error, target) or error from error


COMMANDS = (
    list_labels,
    show_stats,
    remove,
    relabel,
    merge,
    payload,
    thumbnail,
)
