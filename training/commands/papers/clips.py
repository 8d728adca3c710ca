"""Judge clips, sound and heading as queries (survey, section 3.4).

\b
    python -m training papers clips --data ../shared/data/ie_tower
    python -m training papers clips --data DIR --also DIR --sounds FOLDER --labels 20

The query photos of each place, in order, are written as a video file and recognized as a clip, and
those of each label of the sets --also, whose photos are enrolled without views.
Recordings (WAV files of --sounds) become clips of labels that look alike; this part needs ffmpeg.
Headings are simulated. Finished clips are in OUT/done.jsonl, and the same command continues.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from edge_runtime.cli.common import progress_bar
from edge_runtime.engine import Engine, open_engine
from edge_runtime.errors import InputError
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.image.decode import read_photo
from training.cli import log, report_errors
from training.data.photo_sets import Photo, read_set
from training.eval.caching_engine import CachingEngine
from training.papers.clips.figures import Record
from training.papers.clips.heading import NONE, run_heading
from training.papers.clips.sounds import Noise, recordings, run_sounds
from training.papers.clips.table import correlation_rows, heading_rows, sound_rows, walk_rows
from training.papers.clips.walks import MOST_FRAMES, digest_of, enrolled, run_walks, walks
from training.papers.files import FinishedRuns
from training.papers.rows import RESULTS, Row, Table, write_table
from training.papers.times import timed

RECORDINGS = Path("/usr/share/asterisk/sounds")
CONDITIONS: tuple[tuple[Noise, float], ...] = (
    *(("none", 0.0), ("white", 20.0), ("white", 10.0), ("white", 5.0), ("white", 0.0)),
    ("babble", 5.0),
)
TINY_CONDITIONS: tuple[tuple[Noise, float], ...] = (("none", 0.0), ("white", 0.0))
WEIGHTS = (NONE, 40.0, 20.0, 10.0)


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="A set of walks, such as ie_tower.")
@click.option("--also", multiple=True, type=Path, help="Further sets, for the clips only.")
@click.option("--sounds", multiple=True, type=Path, default=(RECORDINGS,), show_default=True,
              help="Folders with recordings (WAV).")  # fmt: skip
@click.option("--labels", type=click.IntRange(2), default=20, show_default=True,
              help="Labels that look alike, each with a recording.")  # fmt: skip
@click.option("--foreign", type=click.IntRange(4), default=40, show_default=True,
              help="Recordings that are not enrolled.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True,
              help="Draws of simulated headings.")  # fmt: skip
@click.option("--model", type=Path, help="The hash network.  [default: the package's]")
@click.option("--views/--no-views", default=True, help="Enroll photos with their crops.")
@click.option("--tiny", is_flag=True, help="A short form, for tests.")
@click.option("--out", type=Path, default=Path("build/papers/clips"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@report_errors
@timed("clips", "done.jsonl")
def main(
    data: Path,
    also: tuple[Path, ...],
    sounds: tuple[Path, ...],
    labels: int,
    foreign: int,
    seeds: int,
    model: Path | None,
    views: bool,
    tiny: bool,
    out: Path,
    results: Path,
) -> None:
    """Run the command."""
    if tiny:
        labels, foreign, seeds, views = 2, 4, 1, False
    conditions = TINY_CONDITIONS if tiny else CONDITIONS
    photos = read_set(data)
    spots = walks(photos)
    engine = CachingEngine(open_engine(model))
    done = FinishedRuns(out / "done.jsonl")
    settings = {"model": engine.model.id, "data": digest_of(photos), "views": views}
    gallery_file = out / f"{data.name}.sqlite"
    records, calibration = _judged(engine, photos, data.name, out, done, settings)
    rows: list[Row] = walk_rows(data.name, records, calibration)
    for folder in also:
        others = read_set(folder)
        key = {"model": engine.model.id, "data": digest_of(others), "views": False}
        rows += walk_rows(folder.name, *_judged(engine, others, folder.name, out, done, key))
    rows += correlation_rows(records, calibration)
    notes = [
        f"{len(records)} clips of {sum(len(r['own']) for r in records)} frames; the middle fifth "
        "of each walk is queried, the rest enrolled. Strangers are the same clips, searched among "
        "all labels but their own.",
    ]
    if also:
        names = ", ".join(folder.name for folder in also)
        notes.append(
            f"{names}: the clips are the query photos of each label, up to {MOST_FRAMES} in the "
            "order of their names, and the rest is enrolled without views."
        )
    if shutil.which("ffmpeg") is None:
        rows.append(Row("sound beside the picture", "Liu et al. 2017", "", "right clips (%)",
                        missing="ffmpeg is not installed"))  # fmt: skip
    else:
        heard = recordings(sounds, labels + foreign)
        image = read_photo(next(iter(spots.values()))[0].path)
        total = len(conditions) * (labels + foreign)
        with progress_bar("sounds", total) as advance:
            answers = run_sounds(
                *(engine, image, heard[:labels], heard[labels:], conditions, out / "sounds"),
                *(done, {**settings, "labels": labels, "foreign": foreign}, lambda: advance(1)),
            )
        rows += sound_rows(answers, labels)
        notes.append(
            f"Sounds: {labels} labels with one picture and one recording each (speech of one "
            f"speaker, Debian's asterisk-core-sounds-en-wav, CC BY-SA 3.0), {foreign} foreign ones."
        )
    data_text = f"{data.name}, {len(spots)} places with queries, split: the set's own"
    data_text += " (ie_tower: the middle fifth of each walk)"
    notes.append("Headings are simulated; see training/papers/clips/heading.py.")
    queries = [photo for photos in spots.values() for photo in photos]
    runs: list[dict[float, dict[str, float]]] = []
    with progress_bar("headings", seeds * len(queries)) as advance:
        for seed in range(1, seeds + 1):
            runs.append(
                run_heading(
                    *(engine, gallery_file, queries, WEIGHTS, seed, out, done, settings),
                    lambda: advance(1),
                )
            )
            headings = heading_rows(runs)
            more = "".join(f" --also {folder.name}" for folder in also)
            command = f"python -m training papers clips --data {data.name}{more}"
            path = write_table(
                "clips", Table(command, data_text, [*rows, *headings], notes), results
            )
    log(f"written: {path}")


def _judged(
    engine: Engine,
    photos: list[Photo],
    name: str,
    out: Path,
    done: FinishedRuns,
    settings: dict[str, Any],
) -> tuple[list[Record], Calibration]:
    """Enroll a set and query its clips; return the records and the calibration of its gallery."""
    spots = walks(photos)
    log(f"enrolling {name}")
    path = out / f"{name}.sqlite"
    with enrolled(engine, photos, path, done, settings, views=settings["views"]) as gallery:
        with progress_bar("clips", len(spots)) as advance:
            folder = out / "walks" / name
            records = run_walks(engine, gallery, spots, folder, done, settings, lambda: advance(1))
        calibration = gallery.calibration()
    if calibration is None or not records:
        raise InputError("no labels that are enrolled and queried", where=name)
    return records, calibration
