"""`edge-runtime gallery`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import busy, gallery_option, json_option, print_json, talk
from edge_runtime.errors import EXIT_CHECK_FAILED


@click.group("gallery")
def command() -> None:
    """What has been enrolled, and the care of its file."""


@command.command("list")
@gallery_option
@json_option
def list_labels(gallery: Path, as_json: bool) -> None:
    """Every label, with how many codes it has (a picture has one for each of its views)."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=True) as memory:
        labels = memory.labels()
    if as_json:
        print_json([{"label": label, "items": items} for label, items in labels.items()])
    else:
        for label, items in labels.items():
            click.echo(f"{items:>6}  {label}")


@command.command("stats")
@gallery_option
@json_option
def show_stats(gallery: Path, as_json: bool) -> None:
    """The gallery in numbers."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=True) as memory:
        stats = asdict(memory.stats())
    if as_json:
        print_json(stats)
    else:
        for key, value in stats.items():
            click.echo(f"{key:<12} {value}")


@command.command("remove")
@gallery_option
@json_option
@click.option(
    "--id",
    "ids",
    type=click.IntRange(max=2**63 - 1),
    multiple=True,
    help="Remove one code; may be repeated.",
)
@click.argument("label", required=False)
def remove(gallery: Path, as_json: bool, ids: tuple[int, ...], label: str | None) -> None:
    """Forget LABEL with all its pictures, or single codes by --id."""
    if label is None and not ids:
        raise click.UsageError("name a label, or codes with --id")

    from edge_runtime.gallery import Gallery

    with Gallery(gallery) as memory:
        removed = memory.remove(label=label, ids=ids)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"removed {removed} codes")


@command.command("relabel")
@gallery_option
@json_option
@click.argument("old")
@click.argument("new")
def relabel(gallery: Path, as_json: bool, old: str, new: str) -> None:
    """Give the pictures of OLD the label NEW; if NEW has pictures, the two are merged."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery) as memory:
        moved = memory.relabel(old, new)
    if as_json:
        print_json({"moved": moved})
    else:
        click.echo(f"{moved} codes now have the label {new}")


@command.command("merge")
@gallery_option
@json_option
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
def merge(gallery: Path, as_json: bool, source: Path) -> None:
    """Enrol all that the gallery file SOURCE holds, with labels, notes and positions."""
    from edge_runtime.gallery import Gallery

    with busy("merging"), Gallery(source, read_only=True) as other, Gallery(gallery) as memory:
        added = memory.merge(other)
    if as_json:
        print_json({"added": added})
    else:
        click.echo(f"added {added} codes")


@command.command("payload")
@gallery_option
@click.argument("label")
@click.argument("text", metavar="[JSON]", required=False)
def payload(gallery: Path, label: str, text: str | None) -> None:
    """Keep JSON of your own with LABEL; without JSON, print what is kept."""
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=text is None) as memory:
        if text is None:
            click.echo(memory.payload(label))
        else:
            memory.set_payload(label, text)


@command.command("thumbnail")
@gallery_option
@click.argument("label")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def thumbnail(gallery: Path, label: str, target: Path) -> None:
    """Write the small JPEG kept with LABEL to the file TARGET."""
    from edge_runtime.errors import NotEnrolledError, storage_error
    from edge_runtime.gallery import Gallery

    with Gallery(gallery, read_only=True) as memory:
        jpeg = memory.thumbnail(label)
    if not jpeg:
        raise NotEnrolledError("it has no thumbnail", where=label, remedy="enrol a photo of it")
    try:
        target.write_bytes(jpeg)
    except OSError as error:
        raise storage_error(error, target) or error from error


@command.command("verify")
@gallery_option
@json_option
def verify(gallery: Path, as_json: bool) -> int:
    """Check every byte that matters. Exit code 9: something is damaged."""
    from edge_runtime.gallery import maintenance

    with busy("verifying"):
        findings = maintenance.verify(gallery)
    if as_json:
        print_json({"sound": not findings, "findings": findings})
    else:
        for finding in findings:
            click.echo(finding)
        click.echo("damaged: see gallery repair" if findings else "sound")
    return EXIT_CHECK_FAILED if findings else 0


@command.command("repair")
@gallery_option
@json_option
def repair(gallery: Path, as_json: bool) -> None:
    """Save all that can be trusted into a new file. Stop the daemon first."""
    from edge_runtime.gallery import maintenance

    with busy("repairing"):
        outcome = maintenance.repair(gallery)
    if as_json:
        print_json(asdict(outcome))
    else:
        lost = f", lost {', '.join(map(str, outcome.lost))}" if outcome.lost else ""
        kept = f"; the damaged file is {outcome.old}" if outcome.old else ""
        click.echo(f"kept {outcome.kept} codes{lost}{kept}")


@command.command("compact")
@gallery_option
@json_option
def compact(gallery: Path, as_json: bool) -> None:
    """Give back the space of what was removed."""
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
    """Copy the gallery to the file TARGET, while it may be in use."""
    from edge_runtime.gallery import backup

    with busy("copying"):
        backup.backup(gallery, target)
    click.echo(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


@command.command("restore")
@gallery_option
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
def restore(gallery: Path, source: Path) -> None:
    """Make the gallery what the file SOURCE holds, a backup, while it may be in use."""
    from edge_runtime.gallery import Gallery, backup

    with busy("copying"):
        old = backup.restore(gallery, source)
    with Gallery(gallery, read_only=True) as memory:
        stats = memory.stats()
    kept = f"; the damaged file is {old}" if old else ""
    click.echo(f"the gallery has {stats.items} codes of {stats.labels} labels{kept}")


@command.command("export")
@gallery_option
@click.argument("target", type=click.Path(path_type=Path))
def export_gallery(gallery: Path, target: Path) -> None:
    """Write all codes and labels to TARGET (.jsonl, .npz or .faiss) for other programs."""
    from edge_runtime.gallery import Gallery
    from edge_runtime.gallery.exchange import export_items
    from edge_runtime.gallery.rows import Meta

    with busy("exporting"), Gallery(gallery, read_only=True) as memory:
        count = export_items(target, Meta(memory.model_id, memory.bits), memory.content())
    click.echo(f"exported {count} codes to {target}")


@command.command("import")
@gallery_option
@click.option("--model", type=click.Path(path_type=Path), help="For a gallery that is new.")
@click.option("--skip-bad", is_flag=True, help="Leave bad lines out instead of everything.")
@json_option
@click.argument("source", type=click.Path(path_type=Path))
def import_gallery(
    gallery: Path, model: Path | None, skip_bad: bool, as_json: bool, source: Path
) -> int:
    """Enrol what `export` wrote to SOURCE (.jsonl, .npz or .faiss): all of it, or nothing."""
    from edge_runtime.engine import open_engine
    from edge_runtime.errors import InputError
    from edge_runtime.gallery import Gallery
    from edge_runtime.gallery.exchange import import_items
    from edge_runtime.gallery.rows import Meta

    bad: list[str] = []
    info = None if gallery.exists() and model is None else open_engine(model).model
    with busy("importing"), Gallery(gallery, info, create=info is not None) as memory:
        owner = Meta(memory.model_id, memory.bits)
        items, notes = import_items(source, owner, bad if skip_bad else None)
        ids = memory.enroll(items, notes)
    known = ids.count(None)
    if as_json:
        print_json({"added": len(ids) - known, "already_enrolled": known, "bad": bad})
    else:
        again = f", {known} were enrolled already" if known else ""
        click.echo(f"imported {len(ids) - known} codes{again}")
    for line in bad:
        talk(f"edge-runtime: {line}")
    return InputError.exit_code if bad else 0
