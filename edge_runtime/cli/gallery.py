"""`edge-runtime gallery`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import (
    busy,
    count_of,
    engine_options,
    gallery_option,
    json_option,
    pictures_and_codes,
    print_json,
    print_message,
)
from edge_runtime.errors import EXIT_CHECK_FAILED


@click.group("gallery")
def command() -> None:
    """List, edit, back up and check what is enrolled.

    An enrolled picture has one code per view, six by default.
    """


@command.command("list")
@gallery_option
@json_option
def list_labels(gallery: Path, as_json: bool) -> None:
    """List the labels with their numbers of pictures and codes."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=True) as opened:
        labels = opened.label_counts()
    if as_json:
        print_json([{"label": label, **counts._asdict()} for label, counts in labels.items()])
        return
    if labels:
        click.echo(f"{'pictures':>8}  {'codes':>8}  label")
    for label, counts in labels.items():
        click.echo(f"{counts.pictures:>8}  {counts.codes:>8}  {label}")


@command.command("stats")
@gallery_option
@json_option
def show_stats(gallery: Path, as_json: bool) -> None:
    """Show the model, the counts and the size of the gallery."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=True) as opened:
        stats = asdict(opened.stats())
    if as_json:
        print_json(stats)
    else:
        for key, value in stats.items():
            click.echo(f"{key:<12} {value}")


@command.command("refit")
@gallery_option
@engine_options
@click.option("--bits", type=click.IntRange(16, 256), default=64, show_default=True)
@click.option("--dry-run", is_flag=True, help="Judge the new code, and change nothing.")
@json_option
def refit_code(
    gallery: Path, model: Path | None, threads: int, bits: int, dry_run: bool, as_json: bool
) -> None:
    """Fit the code to what is enrolled, and keep it if it finds more.

    One picture of each label is left out and searched for with both codes. No photos are needed.
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.fitting.prior import prior_of
    from edge_runtime.gallery import Gallery

    engine = open_engine(model, threads=threads)
    with Gallery(gallery, engine.model, read_only=dry_run) as opened, busy("fitting the code"):
        outcome = opened.refit(bits, prior_of(engine.model), dry_run=dry_run)
    if as_json:
        print_json({**asdict(outcome), "dry_run": dry_run})
    else:
        click.echo(outcome.summary(dry_run=dry_run))


@command.command("remove")
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
        click.echo(f"removed {pictures_and_codes(*removed)}")


@command.command("relabel")
@gallery_option
@json_option
@click.argument("old")
@click.argument("new")
def relabel(gallery: Path, as_json: bool, old: str, new: str) -> None:
    """Change the label OLD to NEW. If NEW exists, the two are merged."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery) as opened:
        moved = opened.relabel(old, new)
    if as_json:
        print_json({"pictures_moved": moved.pictures, "codes_moved": moved.codes})
    else:
        click.echo(f"moved {pictures_and_codes(*moved)} to the label {new}")


@command.command("merge")
@gallery_option
@json_option
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
def merge(gallery: Path, as_json: bool, source: Path) -> None:
    """Add the content of the gallery file SOURCE.

    Labels, payloads, thumbnails and positions are included. What is enrolled already stays as it
    is.
    """
    from edge_runtime.gallery import Gallery

    with busy("merging"), Gallery(source, read_only=True) as other, Gallery(gallery) as opened:
        counts = opened.merge(other)
    if as_json:
        print_json(counts._asdict())
    else:
        click.echo(
            f"added {pictures_and_codes(counts.pictures_added, counts.codes_added)}"
            f"{_already_enrolled(counts.pictures_known)}"
        )


@command.command("payload")
@gallery_option
@click.argument("label")
@click.argument("text", metavar="[JSON]", required=False)
def payload(gallery: Path, label: str, text: str | None) -> None:
    """Store JSON of your own with LABEL, or print the stored JSON."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=text is None) as opened:
        if text is None:
            click.echo(opened.payload(label))
        else:
            opened.set_payload(label, text)


@command.command("thumbnail")
@gallery_option
@click.argument("label")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def thumbnail(gallery: Path, label: str, target: Path) -> None:
    """Write the thumbnail of LABEL, a JPEG, to the file TARGET."""
    from edge_runtime.errors import NotEnrolledError, storage_error
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=True) as opened:
        jpeg = opened.thumbnail(label)
    if not jpeg:
        raise NotEnrolledError(
            "the label has no thumbnail", where=label, remedy="enroll a photo of it"
        )
    try:
        target.write_bytes(jpeg)
    except OSError as error:
        raise storage_error(error, target) or error from error


@command.command("verify")
@gallery_option
@json_option
def verify(gallery: Path, as_json: bool) -> int:
    """Verify the checksums of all codes and labels. Exit code 9 if the gallery is corrupt."""
    from edge_runtime.gallery import Gallery, maintenance

    with busy("verifying"):
        faults = maintenance.verify(gallery)
    if faults:
        if as_json:
            print_json({"sound": False, "findings": faults})
        else:
            for fault in faults:
                click.echo(fault)
            click.echo(
                f"corrupt: {count_of(len(faults), 'fault')} (run: edge-runtime gallery repair)"
            )
        return EXIT_CHECK_FAILED
    with Gallery(gallery, read_only=True) as opened:
        stats = opened.stats()
    if as_json:
        counts = {"codes_checked": stats.codes, "labels_checked": stats.labels}
        print_json({"sound": True, "findings": [], **counts})
    else:
        codes, labels = count_of(stats.codes, "code"), count_of(stats.labels, "label")
        click.echo(f"OK: {codes}, {labels} checked")
    return 0


@command.command("repair")
@gallery_option
@json_option
def repair(gallery: Path, as_json: bool) -> None:
    """Copy everything that is intact to a new file. Stop the daemon first."""
    from edge_runtime.gallery import maintenance

    with busy("repairing"):
        outcome = maintenance.repair(gallery)
    if as_json:
        print_json(asdict(outcome))
    else:
        lost = f", lost {', '.join(map(str, outcome.codes_lost))}" if outcome.codes_lost else ""
        old = f"; the corrupt file is {outcome.old}" if outcome.old else ""
        click.echo(f"kept {count_of(outcome.codes_kept, 'code')}{lost}{old}")


@command.command("compact")
@gallery_option
@json_option
def compact(gallery: Path, as_json: bool) -> None:
    """Release the disk space of removed pictures."""
    from edge_runtime.gallery import maintenance

    with busy("compacting"):
        before, after = maintenance.compact(gallery)
    if as_json:
        print_json({"before_bytes": before, "after_bytes": after})
    else:
        click.echo(f"{before / 1e6:.2f} MB before, {after / 1e6:.2f} MB now")


@command.command("backup")
@gallery_option
@click.argument("target", type=click.Path(path_type=Path))
def backup(gallery: Path, target: Path) -> None:
    """Copy the gallery to the new file TARGET. The gallery may be in use."""
    from edge_runtime.gallery import backup

    with busy("copying"):
        backup.backup(gallery, target)
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@command.command("restore")
@gallery_option
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
def restore(gallery: Path, source: Path) -> None:
    """Replace the gallery's content by that of the backup SOURCE. The gallery may be in use."""
    from edge_runtime.gallery import Gallery, backup

    with busy("copying"):
        old = backup.restore(gallery, source)
    with Gallery(gallery, read_only=True) as opened:
        stats = opened.stats()
    moved = f"; the corrupt file is {old}" if old else ""
    click.echo(
        f"the gallery has {pictures_and_codes(stats.pictures, stats.codes)} "
        f"under {count_of(stats.labels, 'label')}{moved}"
    )


@command.command("export")
@gallery_option
@click.argument("target", type=click.Path(path_type=Path))
def export_gallery(gallery: Path, target: Path) -> None:
    """Export codes and labels for other programs.

    The name of TARGET ends in .jsonl, .npz or .faiss and selects the format.
    """
    from edge_runtime.gallery import Gallery
    from edge_runtime.gallery.exchange import export_codes
    from edge_runtime.gallery.rows import Meta

    with busy("exporting"), Gallery(gallery, read_only=True) as opened:
        count = export_codes(target, Meta(opened.model_id, opened.bits), opened.content())
    click.echo(f"exported {count_of(count, 'code')} to {target}")


@command.command("import")
@gallery_option
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The model that computed the codes, if the gallery does not exist yet.",
)
@click.option("--skip-bad", is_flag=True, help="Skip bad lines instead of importing nothing.")
@json_option
@click.argument("source", type=click.Path(path_type=Path))
def import_gallery(
    gallery: Path, model: Path | None, skip_bad: bool, as_json: bool, source: Path
) -> int:
    """Import a file that `export` wrote, all or nothing.

    The name of SOURCE ends in .jsonl, .npz or .faiss.
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.errors import InputError
    from edge_runtime.gallery import Gallery
    from edge_runtime.gallery.exchange import import_codes
    from edge_runtime.gallery.rows import Meta

    bad: list[str] = []
    info = None if gallery.exists() and model is None else open_engine(model).model
    with busy("importing"), Gallery(gallery, info, create=info is not None) as opened:
        meta = Meta(opened.model_id, opened.bits)
        codes, label_data = import_codes(source, meta, bad if skip_bad else None)
        counts = opened.enroll_counted(codes, label_data)
    if as_json:
        print_json({**counts._asdict(), "bad": bad})
    else:
        click.echo(
            f"imported {pictures_and_codes(counts.pictures_added, counts.codes_added)}"
            f"{_already_enrolled(counts.pictures_known)}"
        )
    for line in bad:
        print_message(f"edge-runtime: {line}")
    return InputError.exit_code if bad else 0


def _already_enrolled(pictures: int) -> str:
    return f"; {count_of(pictures, 'picture')} already enrolled" if pictures else ""
