"""Judge any ONNX hash model on sets of photos, through the runtime's own path.

    python -m training evaluate --model FILE.onnx --data DIR... --out FILE.json

Writes one JSON of all figures and beside it FILE.split.csv, the photos of every protocol's database
and queries; the JSON names each by its SHA-256, so that two results of one split can be told to be
so. `--page DIR` adds an HTML page with plots and
contact sheets (photos of other people's data: keep it out of the repository). A model that does not
describe itself is judged by what the options say of it, as `training.onnx.import_model` would take it.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import report_errors
from training.commands.options import description_options
from training.determinism import set_determinism
from training.eval.evaluate import evaluate, table
from training.eval.html_report import write_report
from training.files import write_bytes, write_json
from training.onnx.import_model import self_described
from training.onnx.model_description import ModelDescription


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="An ONNX hash model.")
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--out", type=Path, help="Where the JSON goes.")
@click.option("--page", type=Path, help="Folder of the HTML page.")
@click.option(
    "--unseen",
    type=Path,
    help="The split.csv of a training.fit.train --hold classes, whose held-out labels the model never"
    " saw: their queries are judged apart.",
)
@click.option("--disturbances/--no-disturbances", default=False, show_default=True)
@description_options
@report_errors
def main(
    model: Path,
    data: tuple[Path, ...],
    out: Path | None,
    page: Path | None,
    unseen: Path | None,
    disturbances: bool,
    given: ModelDescription,
) -> None:
    """Command: see the module."""
    set_determinism(1)
    with self_described(model, given) as described:
        judged = evaluate(described, data, disturbances, unseen)
    if out is not None:
        write_json(out, judged.result)
        write_bytes(out.with_suffix(".split.csv"), judged.splits)
    if page is not None:
        write_report(page, judged.result, judged.rankings)
        write_bytes(page / "split.csv", judged.splits)
    click.echo(table(judged.result))
