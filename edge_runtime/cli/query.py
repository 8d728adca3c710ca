"""`edge-runtime query`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli.common import (
    engine_options,
    gallery_option,
    json_option,
    print_json,
    print_message,
    radius_option,
)
from edge_runtime.errors import InputError, PhotoError

if TYPE_CHECKING:
    from edge_runtime.gallery import Gallery
    from edge_runtime.position import QueryPosition
    from edge_runtime.types import Match, Verdict


@click.command("query")
@gallery_option
@engine_options
@radius_option
@click.option("--explain", is_flag=True, help="Also show the enrolled pictures that it matched.")
@click.option("-k", "--neighbours", type=click.IntRange(1), default=5, show_default=True)
@click.option("--label", "labels", multiple=True, help="Only among this label; may be repeated.")
@click.option("--together", is_flag=True, help="All PHOTOs show the same thing: one answer.")
@click.option(
    "--fusion",
    type=click.Choice(["vote", "best"]),
    default="vote",
    show_default=True,
    help="With --together: labels ranked by votes, or by their nearest picture.",
)
@click.option(
    "--position",
    metavar="LAT,LON[,HEADING] | photo",
    help='Where the photo was taken, in degrees; "photo": as its file says (Exif).',
)
@click.option("--within", type=click.FloatRange(0), help="Metres: leave out what is farther away.")
@click.option(
    "--metres-per-bit",
    type=click.FloatRange(0, min_open=True),
    default=25.0,
    show_default=True,
    help="A match counts a bit worse for each so many metres to where it was taken.",
)
@json_option
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    radius: int | None,
    explain: bool,
    neighbours: int,
    labels: tuple[str, ...],
    together: bool,
    fusion: str,
    position: str | None,
    within: float | None,
    metres_per_bit: float,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Which place or object is in a photo? One line for each PHOTO; with --json, one object."""
    if within is not None and position is None:
        raise click.UsageError("--within needs --position")

    from edge_runtime.engine import open_engine
    from edge_runtime.gallery import Gallery
    from edge_runtime.recognition.pipeline import Pipeline
    from edge_runtime.recognition.voting import fused_verdict, label_scores

    engine = open_engine(model, threads=threads)
    show = _as_json if as_json else _as_text
    faults: list[PhotoError] = []
    with Gallery(gallery, engine.model, read_only=True) as memory:
        pipeline = Pipeline(
            engine, memory, neighbors=neighbours, radius=radius, labels=labels or None
        )
        places = _Places(position, within, metres_per_bit)
        looks = []
        for photo, image, near, decode_ms in _read(photos, places, faults):
            result = pipeline.query(image, near)
            looks.append(result.matches)
            if not together:
                stage_ms = {"decode": decode_ms, **result.stage_ms}
                facts = {"photo": str(photo), "stage_ms": stage_ms}
                show(memory, str(photo), result.verdict, result.matches, explain, facts)
        if together and looks:
            found = label_scores(looks, pipeline.radius, "best" if fusion == "best" else "vote")
            answer = fused_verdict(looks, found)
            extra: dict[str, Any] = {
                "photos": [str(photo) for photo in photos],
                "label_scores": [
                    {"label": one.label, "share": one.share, "photos": one.images} for one in found
                ],
            }
            best = tuple(one.match for one in found)
            show(memory, f"{len(looks)} photos", answer, best, explain, extra)
    return InputError.exit_code if faults else 0


class _Places:
    """The position that each photo is looked up with."""

    def __init__(self, text: str | None, within: float | None, meters_per_bit: float) -> None:
        from edge_runtime.position import parse_position

        self._photo = text == "photo"
        self._fixed = parse_position(text) if text not in (None, "photo") else None
        self._within_m = within
        self._meters_per_bit = meters_per_bit

    def of(self, data: bytes) -> QueryPosition | None:
        """Of the encoded photo `data`."""
        from edge_runtime.image.exif import read_exif_position
        from edge_runtime.position import QueryPosition

        position = read_exif_position(data) if self._photo else self._fixed
        return QueryPosition(position, self._within_m, self._meters_per_bit) if position else None


def _read(
    photos: tuple[Path, ...], places: _Places, faults: list[PhotoError]
) -> Iterator[tuple[Path, Any, QueryPosition | None, float]]:
    """Each photo that can be used, decoded, with its position and the milliseconds it took."""
    from edge_runtime.image.decode import decode_photo, read_bytes
    from edge_runtime.system.stage_timer import StageTimer

    for photo in photos:
        timer = StageTimer()
        try:
            data = read_bytes(photo)
            image = decode_photo(data, where=photo)
        except PhotoError as error:
            print_message(f"edge-runtime: {error}")
            faults.append(error)
            continue
        timer.mark("decode")
        yield photo, image, places.of(data), timer.stage_ms["decode"]


def _as_json(
    memory: Gallery,
    _name: str,
    verdict: Verdict,
    matches: tuple[Match, ...],
    _explain: bool,
    extra: dict[str, Any],
) -> None:
    sources = memory.sources([match.id for match in matches])
    listed = [{**asdict(match), "source": sources.get(match.id)} for match in matches]
    print_json({**extra, **asdict(verdict), "matches": listed})


def _as_text(
    memory: Gallery,
    name: str,
    verdict: Verdict,
    matches: tuple[Match, ...],
    explain: bool,
    extra: dict[str, Any],
) -> None:
    distance = "" if verdict.distance is None else f", nearest {verdict.distance} bits away"
    sure = f"{verdict.confidence:.0%}" if verdict.label else "nothing near enough"
    took = f", {sum(extra['stage_ms'].values()):.1f} ms" if "stage_ms" in extra else ""
    click.echo(f"{name}: {verdict.label or 'unknown'} ({sure}{distance}{took})")
    if explain:
        sources = memory.sources([match.id for match in matches])
        for match in matches:
            ground = "" if match.metres is None else f"  {match.metres:,.0f} m"
            source = sources.get(match.id, "")
            click.echo(f"    {match.distance:>3} bits{ground}  {match.label}  {source}")
