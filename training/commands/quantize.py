"""Convert an fp32 ONNX model to int8 (QDQ): weights per channel, activations calibrated on photos.

\b
    python -m training quantize --model FILE.onnx --data DIR... --out FILE.int8.onnx

The result keeps the model's description, so the runtime opens it like any other model.
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
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--out", type=Path, required=True)
@click.option(
    "--photos",
    type=click.IntRange(1),
    default=PHOTOS,
    show_default=True,
    help="Most photos to calibrate on.",
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
    """Run the command."""
    set_determinism(seed)
    candidates, _, _ = default_split(read_sets(data))
    rows = np.random.default_rng(seed).permutation(len(candidates))[: 2 * photos]
    calibration_photos = open_cache([candidates[int(row)] for row in rows[:photos]])
    for line in calibration_photos.skipped:
        log(f"skipped {line}")
    comparison_photos = (
        open_cache([candidates[int(row)] for row in rows[photos:]]) if rows[photos:].size else None
    )
    log(f"calibrating on {len(calibration_photos)} photos ({calibration})")
    quantize(model, calibration_photos, out, CalibrationMethod[calibration])
    report = {"model": str(out), "bytes": out.stat().st_size, "photos": len(calibration_photos)}
    if comparison_photos is not None:
        report["equal_bits"] = agreement(model, out, comparison_photos)
    else:
        log("no photos are left to compare the bits of the two models on")
    click.echo(json.dumps(report))
