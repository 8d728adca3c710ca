"""`edge-runtime run`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import (
    engine_options,
    gallery_option,
    json_option,
    log_to_stderr,
    radius_option,
    talk,
    terminable,
)

if TYPE_CHECKING:
    from edge_runtime.daemon import Summary


@click.command("run")
@gallery_option
@engine_options
@radius_option
@click.option(
    "--camera",
    default="0",
    show_default=True,
    help="Index, /dev path, video file, folder of photos, or http/rtsp address.",
)
@click.option(
    "--window",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Frames of which a majority decides.",
)
@json_option
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    radius: int | None,
    camera: str,
    window: int,
    as_json: bool,
) -> int:
    """Watch a camera and say what comes into view and what leaves it.

    Ends with a summary: at the end of a file or folder, at Ctrl-C, or when told to terminate. With
    --json, every event is a line, and so is the summary.
    """
    from edge_runtime.camera import open_camera
    from edge_runtime.daemon import Daemon
    from edge_runtime.decision import Decider
    from edge_runtime.engine import open_engine
    from edge_runtime.gallery import Gallery
    from edge_runtime.pipeline import Pipeline
    from edge_runtime.sinks import JsonSink, TextSink

    log_to_stderr()
    engine = open_engine(model, threads=threads)
    with Gallery(gallery, engine.model, read_only=True) as memory, open_camera(camera) as frames:
        stats = memory.stats()
        talk(
            f"watching {frames.source.name} for {stats.labels} labels ({stats.items} codes), "
            f"engine {engine.name}: {engine.reason}. Ctrl-C ends."
        )
        if not stats.items:
            talk("edge-runtime: the gallery is empty, so everything will be unknown")
        daemon = Daemon(
            frames,
            Pipeline(engine, memory, radius=radius),
            [JsonSink(sys.stdout) if as_json else TextSink(sys.stdout)],
            decider=Decider(window),
        )
        try:
            with terminable():
                daemon.run()
        except KeyboardInterrupt:
            pass
        finally:
            summary = daemon.summary()
            if as_json:
                click.echo(json.dumps({"kind": "summary", **asdict(summary)}))
            else:
                talk(render(summary))
    return 0


def render(summary: Summary) -> str:
    """A run's summary as a table for people."""
    rate = summary.frames / summary.seconds if summary.seconds else 0.0
    lines = [
        f"{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f} a second), "
        f"{summary.dropped} dropped, {summary.events} events, "
        f"peak memory {summary.peak_rss_bytes / 1e6:.0f} MB"
    ]
    if summary.stages:
        lines.append(f"{'stage':<12}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for stage, times in summary.stages.items():
        cells = "".join(f"{times[key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms"))
        lines.append(f"{stage:<12}{cells}")
    return "\n".join(lines)
