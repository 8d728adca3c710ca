"""`edge-runtime query`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_runtime.cli.clips import clip_options, clip_query
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
from edge_runtime.cli.process.restart import open_to_read
from edge_runtime.errors import InputError, PhotoError

DEGREES_PER_BIT = 20.0

if TYPE_CHECKING:
    from edge_runtime.gallery import Gallery
    from edge_runtime.image import Image
    from edge_runtime.model import ModelInfo
    from edge_runtime.position import QueryPosition
    from edge_runtime.recognition.pipeline import Pipeline
    from edge_runtime.types import Match, QueryResult, Verdict


@click.command("query")
@gallery_option
@engine_options
@radius_option
@false_name_rate_option
@click.option("--explain", is_flag=True, help="Also list the nearest pictures, each once.")
@click.option(
    "-k",
    "--neighbors",
    "neighbors",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of nearest pictures that vote.",
)
@click.option("--label", "labels", multiple=True, help="Search only this label. May be repeated.")
@click.option(
    "--second-look/--one-look",
    default=True,
    show_default=True,
    help="Whether to hash the middle of a PHOTO as well if it stays unknown.",
)
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
    "--meters-per-bit",
    "meters_per_bit",
    type=click.FloatRange(0, min_open=True),
    default=25.0,
    show_default=True,
    help="Meters between the positions that count as much as one differing bit.",
)
@click.option(
    "--degrees-per-bit",
    type=click.FloatRange(0, min_open=True),
    default=DEGREES_PER_BIT,
    show_default=True,
    help="Degrees between the headings that count as much as one differing bit.",
)
@clip_options
@click.option("--server", metavar="URL", help="Also ask a server (see: edge-runtime serve).")
@click.option(
    "--server-token-file",
    type=click.Path(dir_okay=False),
    help="With --server: a file whose first line is its token.",
)
@click.option("--server-features", is_flag=True, help="With --server: also send the features.")
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
    second_look: bool,
    together: bool,
    fusion: Literal["vote", "best"],
    position: str | None,
    within: float | None,
    meters_per_bit: float,
    degrees_per_bit: float,
    most_frames: int,
    every: float,
    sure: float,
    sound: bool,
    server: str | None,
    server_token_file: str | None,
    server_features: bool,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Recognize the place or object in each PHOTO, or in each clip (a video file).

    Prints one line per photo, or one JSON object per photo with --json. The frames of a clip are
    hashed one by one until the answer is sure. With --server, the photo is
    hashed here, and the server is asked for what the gallery does not know; the gallery need not
    exist. Only the code is sent, and the position if --position is given.
    """
    if within is not None and position is None:
        raise click.UsageError("--within requires --position")
    if server is None and (server_token_file is not None or server_features):
        raise click.UsageError("--server-token-file and --server-features require --server")
    if server is not None and together:
        raise click.UsageError("--together cannot be combined with --server")

    from edge_runtime.engine import open_engine
    from edge_runtime.fitting.calibration import FALSE_NAME_RATE
    from edge_runtime.image.photo_files import is_clip_name
    from edge_runtime.recognition.pipeline import Pipeline

    if (together or server is not None) and any(is_clip_name(photo) for photo in photos):
        raise click.UsageError("a clip cannot be combined with --together or --server")
    engine = open_engine(model, threads=threads)
    show = _as_json if as_json else _as_text
    faults: list[PhotoError] = []
    with _opened(gallery, engine.model, optional=server is not None) as opened:
        pipeline = Pipeline(
            engine,
            opened,
            neighbors=neighbors,
            radius=radius,
            false_name_rate=false_name_rate or FALSE_NAME_RATE,
            labels=labels or None,
            second_look=second_look and not together,
        )
        positions = _Positions(position, within, meters_per_bit, degrees_per_bit)
        if server is not None:  # its labels need not be in the gallery
            pipeline = pipeline.for_labels(labels or None)
        ask = _server(pipeline, server, server_token_file, server_features) if server else None
        results = []
        ask_clip = clip_query(pipeline, opened, most_frames, every, sure, sound, explain, as_json)
        for photo, image, near, decode_ms in _read(photos, positions, faults, ask_clip):
            result = pipeline.query(image, near)
            if ask is not None:
                result = ask(result, near)
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


@contextmanager
def _opened(path: Path, model: ModelInfo, *, optional: bool) -> Iterator[Gallery]:
    """Yield the gallery at `path`; if it is `optional` and does not exist, an empty one."""
    from edge_runtime.gallery import Gallery

    if not optional or path.exists():
        with open_to_read(path, model) as gallery:
            yield gallery
        return
    with (
        TemporaryDirectory() as folder,
        Gallery(Path(folder) / "empty.sqlite", model, create=True) as gallery,
    ):
        yield gallery


def _server(
    pipeline: Pipeline, url: str, token_file: str | None, features: bool
) -> Callable[[QueryResult, QueryPosition | None], QueryResult]:
    """Return a function that asks the server at `url` for what the gallery does not know."""
    from edge_runtime.remote.client import LookupClient, must_stay_unknown
    from edge_runtime.settings.secrets import read_token
    from edge_runtime.system.stage_timer import StageTimer

    model = pipeline.engine.model
    radius = model.radius if pipeline.radius is None else pipeline.radius
    token = read_token(token_file) if token_file else ""
    client = LookupClient(url, model, token=token)

    def ask(result: QueryResult, near: QueryPosition | None) -> QueryResult:
        known = result.label is not None or must_stay_unknown(result, model.radius)
        if known or result.embedding is None:
            return result
        timer = StageTimer()
        found = client.near([result.embedding], pipeline.neighbors, features=features, near=near)
        verdict = found.answers[0].judged(radius, pipeline.labels)
        timer.mark("server")
        stage_ms = {**result.stage_ms, **timer.stage_ms}
        if verdict.label is None and result.matches:
            return replace(result, stage_ms=stage_ms)
        matches = found.answers[0].matches
        return replace(result, verdict=verdict, matches=matches, stage_ms=stage_ms)

    return ask


class _Positions:
    """The position of each query, from the options or from the photo."""

    def __init__(
        self,
        text: str | None,
        within: float | None,
        meters_per_bit: float,
        degrees_per_bit: float,
    ) -> None:
        from edge_runtime.position import parse_position

        self._photo = text == "photo"
        self._fixed = parse_position(text) if text not in (None, "photo") else None
        self._within_m = within
        self._meters_per_bit, self._degrees_per_bit = meters_per_bit, degrees_per_bit

    def of(self, data: bytes) -> QueryPosition | None:
        """Return the position for the encoded photo `data`, None if it is unknown.

        Without data, as for a clip, it is the one that the options state.
        """
        from edge_runtime.image.exif import read_exif_position
        from edge_runtime.position import QueryPosition

        position = read_exif_position(data) if self._photo and data else self._fixed
        if position is None:
            return None
        return QueryPosition(position, self._within_m, self._meters_per_bit, self._degrees_per_bit)


def _read(
    photos: tuple[Path, ...],
    positions: _Positions,
    faults: list[PhotoError],
    ask_clip: Callable[[Path, QueryPosition | None], None],
) -> Iterator[tuple[Path, Image, QueryPosition | None, float]]:
    """Yield each valid photo, decoded, with its position and the decoding time in milliseconds.

    A clip is passed to `ask_clip` instead.
    """
    from edge_runtime.image.decode import decode_photo, read_bytes
    from edge_runtime.image.photo_files import is_clip_name
    from edge_runtime.system.stage_timer import StageTimer

    for photo in photos:
        timer = StageTimer()
        try:
            if is_clip_name(photo):
                ask_clip(photo, positions.of(b""))
                continue
            data = read_bytes(photo)
            image = decode_photo(data, where=photo)
        except PhotoError as error:
            print_message(f"edge-runtime: {error}")
            faults.append(error)
            continue
        timer.mark("decode")
        yield photo, image, positions.of(data), timer.stage_ms["decode"]


def _sources(gallery: Gallery, verdict: Verdict, matches: tuple[Match, ...]) -> dict[int, str]:
    """Return the source of each match; the server's ids say nothing here."""
    if verdict.origin != "gallery":
        return {}
    return gallery.sources([match.id for match in matches])


def _as_json(
    gallery: Gallery,
    _name: str,
    verdict: Verdict,
    matches: tuple[Match, ...],
    _explain: bool,
    extra: dict[str, Any],
) -> None:
    sources = _sources(gallery, verdict, matches)
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
    server = "" if verdict.origin == "gallery" else ", by the server"
    echo(f"{name}: {verdict.label or 'unknown'} ({confidence}{distance}{server}{took})")
    if explain:
        sources = _sources(gallery, verdict, matches)
        for match in matches:
            meters = "" if match.meters is None else f"  {match.meters:,.0f} m"
            source = sources.get(match.id, "")
            cosine = "" if match.similarity is None else f"  {match.similarity:.3f}"
            echo(f"    {match.distance:>3} bits{cosine}{meters}  {match.label}  {source}")
