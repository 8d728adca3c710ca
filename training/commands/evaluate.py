"""Measure the retrieval accuracy of an ONNX hash model, as the runtime computes its codes.

\b
    python -m training evaluate --model FILE.onnx --data DIR... --out FILE.json

Writes all figures to a JSON file. FILE.split.csv next to it lists the photos of every protocol's
database and queries. The JSON file names each list by its SHA-256, so you can tell whether two
results used the same split. `--page DIR` adds an HTML page with plots and contact sheets. The page
shows the photos themselves, so keep it out of the repository.

For a model without a description of its own, give the same options as for
`python -m training import-model`.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import report_errors
from training.determinism import set_determinism
from training.eval.evaluate import evaluate, table
from training.eval.html_report import write_report
from training.files import write_bytes, write_json
from training.onnx.import_model import self_described
from training.onnx.model_description import ModelDescription
from training.options import description_options


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="An ONNX hash model.")
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--out", type=Path, help="JSON file to write.")
@click.option("--page", type=Path, help="Folder for the HTML page.")
@click.option(
    "--unseen",
    type=Path,
    help="The split.csv of a training run with --hold classes: also report the queries of its"
    " held-out labels, which the model has not seen.",
)
@click.option(
    "--disturbances/--no-disturbances",
    default=False,
    show_default=True,
    help="Also evaluate disturbed queries.",
)
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
    """Run the command."""
    set_determinism(1)
    with self_described(model, given) as described:
        evaluation = evaluate(described, data, disturbances, unseen)
    if out is not None:
        write_json(out, evaluation.result)
        write_bytes(out.with_suffix(".split.csv"), evaluation.splits)
    if page is not None:
        write_report(page, evaluation.result, evaluation.rankings)
        write_bytes(page / "split.csv", evaluation.splits)
    click.echo(table(evaluation.result))
