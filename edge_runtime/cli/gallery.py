"""`edge-runtime gallery`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import gallery_option, json_option, print_json


@click.group("gallery")
def command() -> None:
    """What has been enrolled."""


@command.command("list")
@gallery_option
@json_option
def list_labels(gallery: Path, as_json: bool) -> None:
    """Every label, with how many pictures it has."""
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
@click.option("--id", "ids", type=int, multiple=True, help="Remove one picture; may be repeated.")
@click.argument("label", required=False)
def remove(gallery: Path, as_json: bool, ids: tuple[int, ...], label: str | None) -> None:
    """Forget LABEL with all its pictures, or single pictures by --id."""
    if label is None and not ids:
        raise click.UsageError("name a label, or pictures with --id")

    from edge_runtime.gallery import Gallery

    with Gallery(gallery) as memory:
        removed = memory.remove(label=label, ids=ids)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"removed {removed} pictures")
