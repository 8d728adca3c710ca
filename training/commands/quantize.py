"""fp32 ONNX -> int8 QDQ ONNX: weights per channel, activations calibrated on training photos.

    python -m training quantize --model FILE.onnx --data DIR... --out FILE.int8.onnx

The file keeps the model's self-description, so the runtime opens it like any other.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from onnxruntime.quantization import (
    CalibrationMethod,
)

from training.cli import log, report_errors
from training.data.photo_sets import read_sets
from training.data.pixel_cache import open_cache
from training.data.splits import default_split
from training.determinism import set_determinism
from training.onnx.quantize_qdq import PHOTOS, agreement, quantize


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="An fp32 ONNX hash model.")
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--out", type=Path, required=True)
@click.option(
    "--photos",
    type=click.IntRange(1),
    default=PHOTOS,
    show_default=True,
    help="To calibrate on, if there are as many.",
)
@click.option(
    "--calibration",
    type=click.Choice([method.name for method in CalibrationMethod]),
    default="MinMax",
    show_default=True,
)
@click.option("--seed", default=1, show_default=True)
@report_errors
def main(
    model: Path, data: tuple[Path, ...], out: Path, photos: int, calibration: str, seed: int
) -> None:
    """Command: see the module."""
    set_determinism(seed)
    everything, _, _ = default_split(read_sets(data))
    rows = np.random.default_rng(seed).permutation(len(everything))[: 2 * photos]
    shown = open_cache([everything[int(row)] for row in rows[:photos]])
    for line in shown.skipped:
        log(f"skipped {line}")
    fresh = (
        open_cache([everything[int(row)] for row in rows[photos:]]) if rows[photos:].size else None
    )
    log(f"calibrating on {len(shown)} photos ({calibration})")
    quantize(model, shown, out, CalibrationMethod[calibration])
    report = {"model": str(out), "bytes": out.stat().st_size, "photos": len(shown)}
    if fresh is not None:
        report["equal_bits"] = agreement(model, out, fresh)
    else:
        log("no photo is left to compare the two models' bits on")
    click.echo(json.dumps(report))
