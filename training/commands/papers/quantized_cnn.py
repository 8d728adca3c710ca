"""Judge the Quantized CNN beside fp32 and int8: MAP@100, storage, memory and time.

\b
    OMP_NUM_THREADS=1 python -m training papers quantized-cnn --data ../shared/data/grocery
    .venv-compile/bin/python -m profiles.estimate.quantized_cnn build/papers/quantized_cnn
    OMP_NUM_THREADS=1 python -m training papers quantized-cnn --data ../shared/data/grocery

The first command fits the codewords, and measures here. The second one counts instructions on
emulated boards and estimates times. The third one finds every run finished, and adds the counts.
A command that was interrupted resumes when it is repeated. Without --data, the accuracy is left
out. --alexnet judges a trained AlexNet-shaped network, too (python -m training papers alexnet).
"""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.determinism import set_determinism
from training.papers.compressed.counts import read_counts
from training.papers.compressed.qcnn.cases import full_alexnet, hash_network, trained_alexnet
from training.papers.compressed.qcnn.codebooks import Setting
from training.papers.compressed.qcnn.judging import Photos, read_photos
from training.papers.compressed.qcnn.study import Case, run_all
from training.papers.compressed.qcnn.table import make_rows, verdict
from training.papers.rows import RESULTS, Table, write_table
from training.papers.times import timed

NAME = "quantized_cnn"


def parse_settings(text: str) -> tuple[Setting, ...]:
    """Parse "4x128,8x64": channels of a sub-space x codewords; raises InputError."""
    found = []
    for part in text.split(","):
        sub, _, words = part.partition("x")
        if not (sub.isdecimal() and words.isdecimal() and int(sub) and 2 <= int(words) <= 256):
            raise InputError(
                f'"{text}" is not a list of settings', where="--settings",
                remedy="write 4x128,8x64: channels of a sub-space x codewords, 2 to 256",
            )  # fmt: skip
        found.append(Setting(int(sub), int(words)))
    return tuple(found)


@click.command(help=__doc__)
@click.option("--data", type=Path, help="A folder of photos.")
@click.option("--model", type=Path, default=Path("models/mobilenet_v1_hash64.onnx"),
              show_default=True, help="The fp32 hash network of NAME_int8.onnx.")  # fmt: skip
@click.option("--alexnet", type=Path, help="A trained AlexNet-shaped network (alexnet.pt).")
@click.option("--settings", default="4x128,8x128,16x128", show_default=True,
              help="Channels of a sub-space x codewords.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--photos", type=click.IntRange(2), default=100, show_default=True,
              help="Training photos that correct the codewords.")  # fmt: skip
@click.option("--searched", type=click.IntRange(0), default=0,
              help="Most photos of a label that are searched.  [default: all]")  # fmt: skip
@click.option("--asked", type=click.IntRange(0), default=0,
              help="Most photos of a label that are queried.  [default: all]")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True,
              help="Timed runs of a contender.")  # fmt: skip
@click.option("--full/--no-full", default=True, show_default=True,
              help="AlexNet at full size, 244 MB.")  # fmt: skip
@click.option("--finished", is_flag=True, help="Start nothing: write what is finished.")
@click.option("--out", type=Path, default=Path("build/papers") / NAME, show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@report_errors
@timed("quantized-cnn")
def main(
    data: Path | None,
    model: Path,
    alexnet: Path | None,
    settings: str,
    seeds: int,
    photos: int,
    searched: int,
    asked: int,
    runs: int,
    full: bool,
    finished: bool,
    out: Path,
    results: Path,
) -> None:
    """Run the command."""
    set_determinism(1)
    chosen = parse_settings(settings)
    judged = read_photos(data, searched, asked) if data else None
    cases: list[Case] = []
    if judged:
        cases.append(hash_network(model, judged, photos))
        if alexnet:
            cases.append(trained_alexnet(alexnet, judged, photos))
    found = run_all(cases, chosen, seeds, runs, out, finished)
    if full:
        found += run_all([full_alexnet()], (Setting(8, 128),), 1, runs, out, finished)
    if not found:
        raise InputError("nothing to do", where="--no-full", remedy="give --data")
    rows = make_rows(found, read_counts())
    notes = verdict(rows)
    if finished:
        notes.append("Runs that were not finished are left out: the command completes them.")
    for line in notes:
        log(line)
    command = " ".join(
        ["python -m training papers quantized-cnn", *_given(data, alexnet, searched, asked, photos)]
    )
    described = _describe(judged, photos)
    path = write_table(NAME, Table(command, described, rows, notes), results)
    log(f"written to {path}")


def _given(
    data: Path | None, alexnet: Path | None, searched: int, asked: int, photos: int
) -> list[str]:
    options = {"--data": data, "--alexnet": alexnet, "--searched": searched, "--asked": asked}
    said = [f"{name} {value}" for name, value in options.items() if value]
    return said + ([f"--photos {photos}"] if photos != 100 else [])


def _describe(judged: Photos | None, pictures: int) -> str:
    if judged is None:
        return "no photos: size and time only"
    return (
        f"{judged.database.photos[0].source}: {len(judged.queries)} queries in a database of "
        f"{len(judged.database)} photos ({judged.split}); codewords corrected on {pictures} photos "
        "of the database; the labels and photos of the database were used in training"
    )
