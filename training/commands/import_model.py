"""Any ONNX hash model, made one that the runtime can run: a copy that describes itself.

    python -m training import-model --model THEIRS.onnx --out OURS.onnx --scale 1/127.5 --offset -1

The copy takes one photo as the runtime gives it (float32 [1, 3, S, S], RGB, one scale and offset)
and turns it into what the model expects; its activations come out as `hash`, float32 [1, K]. What
the file tells is read from it, what it cannot tell must be said; what was neither is input_summary.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from edge_runtime.errors import InputError
from edge_runtime.model import identify
from training.cli import log, report_errors
from training.commands.options import description_options
from training.files import write_bytes
from training.onnx.import_model import (
    ADOPTED,
    import_model,
    input_summary,
    metadata_of,
)
from training.onnx.model_description import ModelDescription


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="The foreign ONNX model.")
@click.option("--out", type=Path, required=True, help="Where the copy goes.")
@description_options
@report_errors
def main(model: Path, out: Path, given: ModelDescription) -> None:
    """Command: see the module."""
    if out.exists() and model.exists() and out.samefile(model):
        raise InputError("it is the model itself", where="--out", remedy="name another file")
    ours = import_model(model, given)
    write_bytes(out, ours.SerializeToString(deterministic=True))
    entries = metadata_of(ours)
    found = {**json.loads(entries["edge.input"]), "threshold": float(entries["edge.threshold"]),
             "adopted": json.loads(entries[ADOPTED])}  # fmt: skip
    log(f"{out}: {entries['edge.bits']} bits; {input_summary(found)}")
    report = {"model": str(out), "id": identify(out)[0], "bits": int(entries["edge.bits"])}
    click.echo(json.dumps({**report, "radius": int(entries["edge.radius"]), "description": found}))
