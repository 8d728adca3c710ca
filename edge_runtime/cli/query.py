"""`edge-runtime query`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import (
    engine_options,
    gallery_option,
    json_option,
    print_json,
    radius_option,
    talk,
)
from edge_runtime.errors import InputError, PhotoError


@click.command("query")
@gallery_option
@engine_options
@radius_option
@click.option("--explain", is_flag=True, help="Also show the nearest enrolled pictures.")
@click.option("-k", "--neighbours", type=click.IntRange(1), default=5, show_default=True)
@json_option
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    radius: int | None,
    explain: bool,
    neighbours: int,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Which place or object is in a photo? One line for each PHOTO; with --json, one object."""
    from edge_runtime.engine import open_engine
    from edge_runtime.gallery import Gallery
    from edge_runtime.photo import read_photo
    from edge_runtime.pipeline import Pipeline
    from edge_runtime.stopwatch import Stopwatch

    engine = open_engine(model, threads=threads)
    faults = 0
    with Gallery(gallery, engine.model, read_only=True) as memory:
        pipeline = Pipeline(engine, memory, neighbours=neighbours, radius=radius)
        for photo in photos:
            watch = Stopwatch()
            try:
                image = read_photo(photo)
            except PhotoError as error:
                talk(f"edge-runtime: {error}")
                faults += 1
                continue
            watch.lap("decode")
            result = pipeline.look(image)
            stage_ms = {**watch.stage_ms, **result.stage_ms}
            sources = memory.sources([match.id for match in result.matches])
            verdict = result.verdict
            if as_json:
                matches = [{**asdict(m), "source": sources.get(m.id)} for m in result.matches]
                print_json(
                    {
                        "photo": str(photo),
                        **asdict(verdict),
                        "matches": matches,
                        "stage_ms": stage_ms,
                    }
                )
                continue
            distance = "" if verdict.distance is None else f", nearest {verdict.distance} bits away"
            sure = f"{verdict.confidence:.0%}" if verdict.label else "nothing near enough"
            click.echo(
                f"{photo}: {verdict.label or 'unknown'} "
                f"({sure}{distance}, {sum(stage_ms.values()):.1f} ms)"
            )
            if explain:
                for match in result.matches:
                    click.echo(
                        f"    {match.distance:>3} bits  {match.label}  {sources.get(match.id, '')}"
                    )
    return InputError.exit_code if faults else 0
