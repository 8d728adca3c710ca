"""`edge-runtime query`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_runtime.cli.common import (
    count_of,
    echo,
    engine_options,
    false_name_rate_option,
    gallery_option,
    json_option,
    print_json,
    print_message,
    radius_option,
)
from edge_runtime.errors import InputError, PhotoError

if TYPE_CHECKING:
    from edge_runtime.gallery import Gallery
    from edge_runtime.image import Image
    from edge_runtime.position import QueryPosition
    from edge_runtime.types import Match, Verdict


@click.command("query")
@gallery_option
@engine_options
@radius_option
@false_name_rate_option
@click.option("--explain", is_flag=True, help="Also list the nearest pictures, each once.")
@click.option(
    "-k",
    "--neighbours",
    "neighbors",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of nearest pictures that vote.",
)
@click.option("--label", "labels", multiple=True, help="Search only this label. May be repeated.")
@click.option(
    "--together", is_flag=True, help="Give one answer for all PHOTOs, which show the same thing."
)
@click.option(
    "--fusion",
    type=click.Choice(["vote", "best"]),
    default="vote",
    show_default=True,
    help="With --together: rank labels by votes, or by their nearest picture.",
)
@click.option(
    "--position",
    metavar="LAT,LON[,HEADING] | photo",
    help='Where the photo was taken, in degrees; "photo" reads its Exif data.',
)
@click.option(
    "--within",
    type=click.FloatRange(0),
    help="Exclude pictures taken more than this many meters away.",
)
@click.option(
    "--metres-per-bit",
    "meters_per_bit",
    type=click.FloatRange(0, min_open=True),
    default=25.0,
    show_default=True,
    help="Meters between the positions that count as much as one differing bit.",
)
@json_option
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    radius: int | None,
    false_name_rate: float | None,
    explain: bool,
    neighbors: int,
    labels: tuple[str, ...],
    together: bool,
    fusion: Literal["vote", "best"],
    position: str | None,
    within: float | None,
    meters_per_bit: float,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Recognize the place or object in each PHOTO.

    Prints one line per photo, or one JSON object per photo with --json.
    """
    if within is not None and position is None:
        raise click.UsageError("--within requires --position")

    from edge_runtime.engine import open_engine
    from edge_runtime.fitting.calibration import FALSE_NAME_RATE
    from edge_runtime.gallery import Gallery
    from edge_runtime.recognition.pipeline import Pipeline

    engine = open_engine(model, threads=threads)
    show = _as_json if as_json else _as_text
    faults: list[PhotoError] = []
    with Gallery(gallery, engine.model, read_only=True) as opened:
        pipeline = Pipeline(
            engine,
            opened,
            neighbors=neighbors,
            radius=radius,
            false_name_rate=false_name_rate or FALSE_NAME_RATE,
            labels=labels or None,
        )
        positions = _Positions(position, within, meters_per_bit)
        results = []
        for photo, image, near, decode_ms in _read(photos, positions, faults):
            result = pipeline.query(image, near)
            results.append(result)
            if not together:
                stage_ms = {"decode": decode_ms, **result.stage_ms}
                facts = {"photo": str(photo), "stage_ms": stage_ms}
                show(opened, str(photo), result.verdict, result.matches, explain, facts)
        if together and results:
            fused = pipeline.fuse(results, fusion)
            extra: dict[str, Any] = {
                "photos": [str(photo) for photo in photos],
                "label_scores": [
                    {"label": score.label, "share": score.share, "photos": score.images}
                    for score in fused.label_scores
                ],
            }
            best = tuple(score.match for score in fused.label_scores)
            show(opened, count_of(len(results), "photo"), fused.verdict, best, explain, extra)
    return InputError.exit_code if faults else 0


class _Positions:
    """The position of each query, from the options or from the photo."""

    def __init__(self, text: str | None, within: float | None, meters_per_bit: float) -> None:
        from edge_runtime.position import parse_position

        self._photo = text == "photo"
        self._fixed = parse_position(text) if text not in (None, "photo") else None
        self._within_m = within
        self._meters_per_bit = meters_per_bit

    def of(self, data: bytes) -> QueryPosition | None:
        """Return the position for the encoded photo `data`, None if it is unknown."""
        from edge_runtime.image.exif import read_exif_position
        from edge_runtime.position import QueryPosition

        position = read_exif_position(data) if self._photo else self._fixed
        return QueryPosition(position, self._within_m, self._meters_per_bit) if position else None


def _read(
    photos: tuple[Path, ...], positions: _Positions, faults: list[PhotoError]
) -> Iterator[tuple[Path, Image, QueryPosition | None, float]]:
    """Yield each valid photo, decoded, with its position and the decoding time in milliseconds."""
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
        yield photo, image, positions.of(data), timer.stage_ms["decode"]


def _as_json(
    gallery: Gallery,
    _name: str,
    verdict: Verdict,
    matches: tuple[Match, ...],
    _explain: bool,
    extra: dict[str, Any],
) -> None:
    sources = gallery.sources([match.id for match in matches])
    listed = [{**asdict(match), "source": sources.get(match.id)} for match in matches]
    print_json({**extra, **asdict(verdict), "matches": listed})


def _as_text(
    gallery: Gallery,
    name: str,
    verdict: Verdict,
    matches: tuple[Match, ...],
    explain: bool,
    extra: dict[str, Any],
) -> None:
    distance = "" if verdict.distance is None else f", distance {verdict.distance} bits"
    confidence = f"{verdict.confidence:.0%}" if verdict.label else "nothing similar enough"
    took = f", {sum(extra['stage_ms'].values()):.1f} ms" if "stage_ms" in extra else ""
    echo(f"{name}: {verdict.label or 'unknown'} ({confidence}{distance}{took})")
    if explain:
        sources = gallery.sources([match.id for match in matches])
        for match in matches:
            meters = "" if match.metres is None else f"  {match.metres:,.0f} m"
            source = sources.get(match.id, "")
            cosine = "" if match.similarity is None else f"  {match.similarity:.3f}"
            echo(f"    {match.distance:>3} bits{cosine}{meters}  {match.label}  {source}")
