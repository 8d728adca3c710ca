"""`edge-runtime profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_runtime.cli.common import (
    engine_options,
    gallery_option,
    json_option,
    print_json,
    progress_bar,
)
from edge_runtime.errors import EXIT_VERDICT, ReportError


@click.command("profile")
@gallery_option
@engine_options
@click.option("--quick", is_flag=True, help="100 queries in place of at least 1,024 and 60 s.")
@json_option
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path), metavar="[PHOTO|FOLDER...]")
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    quick: bool,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Measure cold start, every stage of the path, and memory, against the budget.

    Without photos, those that were enrolled are used, where they still exist. Exit code 9: over
    budget.
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.photo import find_photos
    from edge_runtime.profiler import FULL, QUICK, profile

    engine = open_engine(model, threads=threads)
    files = [
        photo for path in photos for photo in (find_photos(path) if path.is_dir() else [path])
    ] or _enrolled_photos(gallery)
    if not files:
        raise ReportError(
            "no photos to measure with", remedy="name some: edge-runtime profile PHOTO..."
        )
    with progress_bar("profiling", 1.0) as advance:
        done = [0.0]

        def progress(share: float) -> None:
            advance(share - done[0])
            done[0] = share

        report = profile(
            engine,
            gallery if gallery.exists() else None,
            files,
            QUICK if quick else FULL,
            progress=progress,
        )
    if as_json:
        print_json(report)
    else:
        click.echo(render(report))
    return 0 if report["met"] else EXIT_VERDICT


def _enrolled_photos(path: Path, most: int = 50) -> list[Path]:
    from edge_runtime.gallery import Gallery

    if not path.exists():
        return []
    with Gallery(path, read_only=True) as gallery:
        sources = gallery.sources(range(1, most + 1))
    return [Path(source) for source in sources.values() if Path(source).is_file()]


def render(report: dict[str, Any]) -> str:
    """A report for people."""
    device, protocol = report["device"]["after"], report["protocol"]
    head = (
        f"{device['model'] or device['cpu']}, {device['machine']}, {device['cores']} cores, "
        f"engine {report['engine']['name']}, {report['engine']['threads']} thread(s), "
        f"{report['gallery']['items']} items"
    )
    lines = [head]
    if device["emulated"]:
        lines.append("EMULATED: these times say nothing about a board")
    if protocol["quick"]:
        lines.append("quick: few samples, do not quote")
    lines.append("cold start (median of fresh processes)")
    lines += [f"  {key.removesuffix('_ms'):<14}{ms:>9.1f} ms" for key, ms in report["cold"].items()]
    lines.append(f"warm ({report['warm']['stages']['query']['count']} queries)")
    lines.append(f"  {'stage':<14}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for stage, times in report["warm"]["stages"].items():
        cells = "".join(f"{times[key]:>9.3f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms"))
        lines.append(f"  {stage:<14}{cells}")
    lines.append("memory")
    lines += [
        f"  {key.removesuffix('_bytes').replace('_', ' '):<20}{value / 1e6:>9.1f} MB"
        for key, value in report["memory"].items()
    ]
    lines.append("budget")
    for check in report["budget"]:
        verdict = "met" if check["met"] else "MISSED"
        lines.append(
            f"  {check['name']:<26}{check['value']:>9.2f} of {check['budget']:g} {check['unit']}"
            f"  {verdict}"
        )
    return "\n".join(lines)
