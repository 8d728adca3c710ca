"""`edge-runtime gallery`: check, copy, export and import the file."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from edge_runtime.cli.common import (
    already_enrolled,
    busy,
    count_of,
    echo,
    engine_options,
    gallery_option,
    json_option,
    pictures_and_codes,
    print_json,
    print_message,
    progress_bar,
)
from edge_runtime.cli.process.restart import may_start_again, open_to_read
from edge_runtime.errors import EXIT_CHECK_FAILED


@click.command("verify")
@gallery_option
@json_option
def verify(gallery: Path, as_json: bool) -> int:
    """Verify the checksums of all codes and labels. Exit code 9 if the gallery is corrupt."""
    from edge_runtime.gallery import maintenance

    may_start_again()
    with busy("verifying"):
        faults = maintenance.verify(gallery)
    if faults:
        if as_json:
            print_json({"sound": False, "findings": faults})
        else:
            for fault in faults:
                echo(fault)
            echo(f"corrupt: {count_of(len(faults), 'fault')} (run: edge-runtime gallery repair)")
        return EXIT_CHECK_FAILED
    with open_to_read(gallery) as opened:
        stats = opened.stats()
    if as_json:
        counts = {"codes_checked": stats.codes, "labels_checked": stats.labels}
        print_json({"sound": True, "findings": [], **counts})
    else:
        codes, labels = count_of(stats.codes, "code"), count_of(stats.labels, "label")
        echo(f"OK: {codes}, {labels} checked")
    return 0


@click.command("repair")
@gallery_option
@json_option
def repair(gallery: Path, as_json: bool) -> None:
    """Copy everything that is intact to a new file. Stop the daemon first."""
    from edge_runtime.gallery.upkeep.first_query import prepare
    from edge_runtime.gallery.upkeep.repair import repair as salvage

    with busy("repairing"):
        outcome = salvage(gallery)
        prepare(gallery)
    if as_json:
        print_json(asdict(outcome))
    else:
        lost = f", lost {', '.join(map(str, outcome.codes_lost))}" if outcome.codes_lost else ""
        old = f"; the corrupt file is {outcome.old}" if outcome.old else ""
        echo(f"kept {count_of(outcome.codes_kept, 'code')}{lost}{old}")


@click.command("compact")
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
        echo(f"{before / 1e6:.2f} MB before, {after / 1e6:.2f} MB now")


@click.command("rehash")
@gallery_option
@engine_options
@click.option(
    "--drop-missing",
    is_flag=True,
    help="Continue without the pictures that were not kept, and remove their codes.",
)
@json_option
def rehash(
    gallery: Path, model: Path | None, threads: int, drop_missing: bool, as_json: bool
) -> None:
    """Move the gallery to another model, from the pictures that it keeps.

    The pictures must have been enrolled with --keep-pictures. If the command is interrupted, the
    gallery is as before, and the next call continues. With the gallery's own model, the command
    adds missing features.
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.enroll import rehash_gallery

    engine = open_engine(model, threads=threads)
    outcome = rehash_gallery(
        engine, gallery, drop_missing=drop_missing, progress=partial(progress_bar, "rehashing")
    )
    if as_json:
        print_json(asdict(outcome))
        return
    codes = count_of(outcome.codes, "code")
    if outcome.model_changed:
        echo(f"moved {codes} to the model {engine.model.name} ({engine.model.id[:12]})")
    elif outcome.codes:
        echo(f"added features to {codes}")
    else:
        echo("nothing to do: the gallery has this model already")
    if outcome.fitted_dropped:
        print_message("the fitted code was dropped (run: edge-runtime gallery refit)")
    for label, pictures in outcome.missing.items():
        what = "removed, not kept" if outcome.model_changed else "not kept, no features"
        print_message(f"{label}: {count_of(pictures, 'picture')} {what}")


@click.command("backup")
@gallery_option
@click.argument("target", type=click.Path(path_type=Path))
def backup(gallery: Path, target: Path) -> None:
    """Copy the gallery to the new file TARGET. The gallery may be in use."""
    from edge_runtime.gallery import backup

    with busy("copying"):
        backup.backup(gallery, target)
    echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@click.command("restore")
@gallery_option
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
def restore(gallery: Path, source: Path) -> None:
    """Replace the gallery's content by that of the backup SOURCE. The gallery may be in use."""
    from edge_runtime.gallery import Gallery, backup
    from edge_runtime.gallery.upkeep.first_query import prepare

    with busy("copying"):
        old = backup.restore(gallery, source)
        prepare(gallery)
    with Gallery(gallery, read_only=True) as opened:
        stats = opened.stats()
    moved = f"; the corrupt file is {old}" if old else ""
    echo(
        f"the gallery has {pictures_and_codes(stats.pictures, stats.codes)} "
        f"under {count_of(stats.labels, 'label')}{moved}"
    )


@click.command("export")
@gallery_option
@click.argument("target", type=click.Path(path_type=Path))
def export_gallery(gallery: Path, target: Path) -> None:
    """Export codes and labels for other programs.

    The name of TARGET ends in .jsonl, .npz or .faiss and selects the format.
    """
    from edge_runtime.gallery.exchange.export import export_codes
    from edge_runtime.gallery.rows import Meta

    with busy("exporting"), open_to_read(gallery) as opened:
        count = export_codes(target, Meta(opened.model_id, opened.bits), opened.content())
    echo(f"exported {count_of(count, 'code')} to {target}")


@click.command("import")
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
    from edge_runtime.gallery.exchange.reading import import_into

    bad: list[str] = []
    info = None if gallery.exists() and model is None else open_engine(model).model
    with busy("importing"), Gallery(gallery, info, create=info is not None) as opened:
        counts = import_into(opened, source, bad if skip_bad else None)
    if as_json:
        print_json({**counts._asdict(), "bad": bad})
    else:
        echo(
            f"imported {pictures_and_codes(counts.pictures_added, counts.codes_added)}"
            f"{already_enrolled(counts.pictures_known)}"
        )
    for line in bad:
        print_message(f"edge-runtime: {line}")
    return InputError.exit_code if bad else 0


COMMANDS = (
    verify,
    repair,
    compact,
    rehash,
    backup,
    restore,
    export_gallery,
    import_gallery,
)
