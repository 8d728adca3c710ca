"""Judge new objects: enroll a few photos of each, then query their other photos and strangers.

\b
    python -m training strangers --model FILE.onnx --data DIR --out FILE.json
    python -m training strangers --model FILE.onnx --data DIR --strangers OTHER-DIR

The photos should show things that no training saw. They pass through the runtime's own path: a
gallery file, enrollment with views, and queries with the default settings. Strangers are photos of
the labels that are not enrolled, or of another folder. If fewer than a twentieth of the labels are
left, enrolled labels are left out one at a time. Draws of labels and photos are repeatable. The
table shows the median of the draws, with the lowest and the highest; all figures but the area under
the ROC are percentages.

Several folders are judged as one set. `--unseen` judges only the labels that a training run held
out.
"""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.engine import open_engine
from edge_runtime.errors import InputError
from training.cli import report_errors
from training.eval.strangers import ALL, Protocol, judge_sets, table
from training.files import write_json

DEFAULTS = Protocol()


def parse_counts(text: str, where: str, words: dict[str, int] | None = None) -> tuple[int, ...]:
    """Parse "1,3,5" as numbers of at least 1; `words` are allowed, too. Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    known = words or {}
    if not all(part in known or (part.isdecimal() and int(part)) for part in parts):
        raise InputError(
            f'"{text}" is not a list of numbers',
            where=where,
            remedy=f"write {','.join(['5,10', *known])}, each at least 1",
        )
    return tuple(dict.fromkeys(known[part] if part in known else int(part) for part in parts))


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="A model file or a bundle.")
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--strangers", type=Path, help="A folder with photos of other things.")
@click.option(
    "--labels",
    default="5,10,20,50,100,200,all",
    show_default=True,
    help="Sizes of the galleries, in labels.",
)
@click.option("--photos", default="1,3,5,10", show_default=True, help="Photos enrolled per label.")
@click.option("--draws", type=click.IntRange(1), default=DEFAULTS.draws, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=DEFAULTS.seed, show_default=True)
@click.option(
    "--most",
    type=click.IntRange(2),
    default=DEFAULTS.most,
    show_default=True,
    help="Most photos used per label; bounds the time.",
)
@click.option(
    "--left-out",
    type=click.IntRange(1),
    default=DEFAULTS.left_out,
    show_default=True,
    help="Labels per draw that are left out, if too few are not enrolled.",
)
@click.option(
    "--unseen",
    type=Path,
    help="The split.csv of a training run with --hold classes: judge only its held-out labels.",
)
@click.option("--one-look", is_flag=True, help="Without second looks at what stays unknown.")
@click.option("--note", default="", help="What training saw of these photos, for the result.")
@click.option("--name", default="", help="Name of the set.  [default: the folders' names]")
@click.option("--out", type=Path, help="JSON file to write.")
@report_errors
def main(
    model: Path,
    data: tuple[Path, ...],
    strangers: Path | None,
    labels: str,
    photos: str,
    draws: int,
    seed: int,
    most: int,
    left_out: int,
    unseen: Path | None,
    one_look: bool,
    note: str,
    name: str,
    out: Path | None,
) -> None:
    """Run the command."""
    protocol = Protocol(
        labels=parse_counts(labels, "--labels", {"all": ALL}),
        photos=parse_counts(photos, "--photos"),
        draws=draws, seed=seed, most=most, left_out=left_out, second_look=not one_look,
    )  # fmt: skip
    engine = open_engine(model)
    try:
        result = judge_sets(engine, data, strangers, protocol, unseen)
    finally:
        engine.close()
    result |= {"note": note} | ({"set": name} if name else {})
    if out is not None:
        write_json(out, result)
    click.echo(table(result))
