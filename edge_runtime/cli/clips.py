"""Clips at the command line: their options, and how an answer to one is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_runtime.cli.common import count_of, echo, print_json, print_message

if TYPE_CHECKING:
    from edge_runtime.clips.query import ClipResult
    from edge_runtime.gallery import Gallery
    from edge_runtime.position import QueryPosition
    from edge_runtime.recognition.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])


def sampling_options(function: F) -> F:
    """Add the options --most-frames N and --every SECONDS."""
    function = click.option(
        "--every",
        type=click.FloatRange(0, 3600),
        default=0.5,
        show_default=True,
        metavar="SECONDS",
        help="Time between the frames of a clip that are used; 0 uses every frame.",
    )(function)
    return click.option(
        "--most-frames",
        type=click.IntRange(1, 1000),
        default=30,
        show_default=True,
        help="Maximum number of frames that are hashed from a clip.",
    )(function)


def clip_options(function: F) -> F:
    """Add the options of a clip as a query."""
    function = click.option(
        "--sure",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.95,
        show_default=True,
        help="Confidence from which a clip is answered before its end.",
    )(function)
    return sampling_options(sound_option(function))


def sound_option(function: F) -> F:
    """Add the option --sound."""
    return click.option(
        "--sound/--no-sound",
        default=True,
        show_default=True,
        help="Also use the sound of a clip.",
    )(function)


def clip_query(
    pipeline: Pipeline,
    gallery: Gallery,
    most_frames: int,
    every: float,
    sure: float,
    sound: bool,
    explain: bool,
    as_json: bool,
) -> Callable[[Path, QueryPosition | None], None]:
    """Return a function that recognizes a clip and prints the answer; it raises `PhotoError`."""

    def ask(path: Path, near: QueryPosition | None) -> None:
        from edge_runtime.clips.frames import ClipOptions
        from edge_runtime.clips.query import query_clip

        result = query_clip(
            pipeline, path, ClipOptions(most_frames, every), near, sure, sound=sound
        )
        if as_json:
            print_json({"clip": str(path), **result.details(gallery, pipeline.neighbors)})
        else:
            _as_text(path, result, gallery, pipeline.neighbors, explain)

    return ask


def _as_text(
    path: Path,
    result: ClipResult,
    gallery: Gallery,
    neighbors: int,
    explain: bool,
) -> None:
    verdict = result.verdict
    distance = "" if verdict.distance is None else f", distance {verdict.distance} bits"
    confidence = f"{verdict.confidence:.0%}" if verdict.label else "nothing similar enough"
    used = ("" if result.sure else "not ") + f"sure after {count_of(len(result.frames), 'frame')}"
    echo(
        f"{path}: {verdict.label or 'unknown'} ({confidence}{distance}, {used}, "
        f"{result.seconds:.1f} s of the clip, {sum(result.stage_ms.values()):.1f} ms)"
    )
    if result.sound is not None and result.sound.note:
        print_message(f"edge-runtime: {path}: {result.sound.note}")
    if not explain:
        return
    for heard in result.sound.heard if result.sound else ():
        echo(
            f"    sound of {heard.label} ({heard.bit_error_rate:.0%} of the bits differ)  "
            f"{heard.source}"
        )
    for answer in result.frames:
        alone = answer.alone.label or "unknown"
        weight = f"  counts as {answer.independent:.1f}" if answer.independent else ""
        echo(
            f"    {answer.seconds:6.1f} s  {alone} ({answer.alone.confidence:.0%} alone)  ->  "
            f"{answer.fused.label or 'unknown'} ({answer.fused.confidence:.0%}){weight}"
        )
    best = [score.match for score in result.label_scores[:neighbors]]
    sources = gallery.sources([match.id for match in best])
    for match in best:
        cosine = "" if match.similarity is None else f"  {match.similarity:.3f}"
        echo(f"    {match.distance:>3} bits{cosine}  {match.label}  {sources.get(match.id, '')}")
