"""Convert an ONNX hash model that was made elsewhere into one that the runtime can open.

\b
    python -m training import-model --model THEIRS.onnx --out OURS.onnx --scale 1/127.5 --offset -1

The copy describes itself. It takes one photo as the runtime provides it (float32 [1, 3, S, S], RGB,
one scale and offset), converts it to what the model expects, and returns the activations as `hash`,
float32 [1, K]. Properties that the file states are read from it. State the others with options. The
output lists every property that was assumed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import InputError
from edge_runtime.model import identify
from training.cli import log, report_errors
from training.files import write_bytes
from training.onnx.import_model import (
    ADOPTED,
    import_model,
    input_summary,
    metadata_of,
)
from training.onnx.model_description import ModelDescription
from training.options import description_options


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="The foreign ONNX model.")
@click.option("--out", type=Path, required=True, help="ONNX file to write.")
@description_options
@report_errors
def main(model: Path, out: Path, given: ModelDescription) -> None:
    """Run the command."""
    if out.exists() and model.exists() and out.samefile(model):
        raise InputError(
            "output and model are the same file", where="--out", remedy="name another file"
        )
    copy = import_model(model, given)
    write_bytes(out, copy.SerializeToString(deterministic=True))
    entries = metadata_of(copy)
    details = {**json.loads(entries["edge.input"]), "threshold": float(entries["edge.threshold"]),
               "adopted": json.loads(entries[ADOPTED])}  # fmt: skip
    log(f"{out}: {entries['edge.bits']} bits; {input_summary(details)}")
    report: dict[str, Any] = {
        "model": str(out),
        "id": identify(out)[0],
        "bits": int(entries["edge.bits"]),
    }
    click.echo(
        json.dumps({**report, "radius": int(entries["edge.radius"]), "description": details})
    )
