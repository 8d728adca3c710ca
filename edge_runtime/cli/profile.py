"""`edge-runtime profile`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import (
    console,
    engine_options,
    gallery_option,
    json_option,
    progress_bar,
    terminable,
)
from edge_runtime.errors import EXIT_CHECK_FAILED, InputError, ReportError

if TYPE_CHECKING:
    from edge_runtime.camera.base import Source
    from edge_runtime.engine import Engine
    from edge_runtime.profiler.run import Protocol

PROC = Path("/proc/self/smaps")


@click.command("profile")
@gallery_option
@engine_options
@click.option("--camera", help="A camera or clip to measure with, as in edge-runtime run.")
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 1000),
    help="Pictures a second, each measured from when it was due.  [default: one by one]",
)
@click.option("--gate", is_flag=True, help="Let unchanged pictures pass without hashing.")
@click.option("--quick", is_flag=True, help="A look: 256 samples and 10 s, not 1,024 and 60 s.")
@click.option("--samples", type=click.IntRange(1, 10**6), help="At least so many samples ...")
@click.option("--seconds", type=click.FloatRange(0, 86_400), help="... and at least so long.")
@click.option(
    "--cold-starts", type=click.IntRange(1, 100), help="Fresh processes.  [default: 5; quick: 3]"
)
@click.option(
    "--budgets",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML file with a table [budgets].  [default: the bundle's]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the report here; while it is being made, what there is of it.",
)
@json_option
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path), metavar="[PHOTO|FOLDER...]")
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    camera: str | None,
    rate: float | None,
    gate: bool,
    quick: bool,
    samples: int | None,
    seconds: float | None,
    cold_starts: int | None,
    budgets: Path | None,
    out: Path | None,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Measure every stage of the path, cold start and memory, against the budget.

    Without photos and camera, the photos that were enrolled are used, where they still exist. Exit
    code 9: over budget, or no measurement (emulated, throttled, swapped, disturbed by others).
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.profiler.run import Profile
    from edge_runtime.report.budget import read_budgets
    from edge_runtime.report.file import check_place, to_json, write_report

    _needs_proc()
    held = read_budgets(budgets) if budgets else None
    source, kind, count = _source(camera, photos, gallery, rate)
    engine = open_engine(model, threads=threads)
    lines, whose = (held, str(budgets.name)) if held and budgets else _bundle_budgets(engine)
    if out:
        check_place(out)
    with progress_bar("profiling", 1.0) as advance, terminable():
        done = [0.0]

        def progress(share: float) -> None:
            advance(share - done[0])
            done[0] = share

        profile = Profile(
            engine,
            source,
            _protocol(quick, samples, seconds, cold_starts, rate, gate),
            gallery if gallery.exists() else None,
            kind=kind,
            photos=count,
            budgets=lines,
            budget_source=whose,
            progress=progress,
            keep=(lambda report: write_report(out, report)) if out else None,
        )
        report = profile.run()
    try:
        if out:
            write_report(out, report)
    finally:  # what was measured is told, though the disk has filled up meanwhile
        if as_json:
            sys.stdout.write(to_json(report).decode())
        elif report.warm is not None:
            from edge_runtime.report.text import show

            show(report, console())
    if profile.cause is not None:
        raise profile.cause
    return 0 if report.met else EXIT_CHECK_FAILED


def _needs_proc() -> None:
    if not PROC.exists():
        raise ReportError(
            "this system has no /proc, which memory and neighbours are read from",
            where=sys.platform,
            remedy="measure on the board (make device-test TARGET=rpi4 HOST=pi@board), or on Linux",
        )


def _protocol(
    quick: bool,
    samples: int | None,
    seconds: float | None,
    cold_starts: int | None,
    rate: float | None,
    gate: bool,
) -> Protocol:
    from edge_runtime.profiler.run import QUICK, Protocol

    base = QUICK if quick else Protocol()
    fewer = samples is not None and samples < base.samples
    fewer |= cold_starts is not None and cold_starts < base.cold_starts
    shorter = seconds is not None and seconds < base.seconds
    return replace(
        base,
        quick=quick or fewer or shorter,
        cold_starts=cold_starts or base.cold_starts,
        samples=base.samples if samples is None else samples,
        seconds=base.seconds if seconds is None else seconds,
        warmup=base.warmup if samples is None else min(base.warmup, samples),
        per_s=rate,
        gate=gate,
    )


def _source(
    camera: str | None, photos: Sequence[Path], gallery: Path, rate: float | None
) -> tuple[Source, str, int | None]:
    """What to look at, its kind, and how many photos it is."""
    from edge_runtime.camera import CameraOptions, parse_source
    from edge_runtime.camera.folder import FolderSource
    from edge_runtime.image.decode import find_photos

    options = CameraOptions(loop=True)
    if camera is not None and photos:
        raise InputError("both photos and a camera", where="--camera", remedy="name one of them")
    if camera is not None:
        source = parse_source(camera, options)
        if source.live and rate is not None:
            raise InputError(
                "a camera gives its pictures at its own pace",
                where="--rate",
                remedy="leave it out, or name photos or a clip",
            )
        kind = "camera" if source.live else "clip"
        return source, kind, None
    files = [
        photo for path in photos for photo in (find_photos(path) if path.is_dir() else [path])
    ] or _enrolled_photos(gallery)
    if not files:
        raise ReportError(
            "no photos to measure with", remedy="name some: edge-runtime profile PHOTO..."
        )
    for file in files:
        if not file.is_file():
            raise InputError("no such photo", where=file, remedy="check the path")
    return FolderSource(files, options), "photos", len(files)


def _enrolled_photos(path: Path, most: int = 50) -> list[Path]:
    from edge_runtime.gallery import Gallery

    if not path.exists():
        return []
    with Gallery(path, read_only=True) as gallery:
        sources = gallery.sources(range(1, most + 1))
    return [Path(source) for source in sources.values() if Path(source).is_file()]


def _bundle_budgets(engine: Engine) -> tuple[dict[str, float], str]:
    """Of the bundle that the engine's network came with, and whose they are; none if it came with
    none, or if nothing can be read of it, as the engine has already said."""
    from edge_runtime.bundle import MANIFEST, bundle_budgets, is_bundle
    from edge_runtime.report.budget import checked

    path = Path(engine.model.path)
    folder = path if path.is_dir() else path.parent  # the portable engine runs the file in it
    if not is_bundle(folder):
        return {}, ""
    target, budgets = bundle_budgets(folder)
    return checked(budgets, folder / MANIFEST), f"the bundle for {target}"
