"""fp32 ONNX -> int8 QDQ ONNX: weights per channel, activations calibrated on training photos.

    python -m training.onnx.quantize_qdq --model FILE.onnx --data DIR... --out FILE.int8.onnx

The file keeps the model's self-description, so the runtime opens it like any other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image.preprocess import preprocess
from training.cli import fail_in_one_line, say, settle
from training.data.photo_sets import read_sets
from training.data.pixel_cache import PixelCache, open_cache
from training.data.splits import default_split
from training.files import write_bytes
from training.hash_layer.features import to_input
from training.onnx.export import IMAGE, ExportError, Floats

MAX_BYTES = 3_700_000
PHOTOS = 300


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Feeds fitted photos, one at a time."""

    def __init__(self, cache: PixelCache, size: int):
        self._images: Iterator[Floats] = (
            to_input(preprocess(cache[index], size)) for index in range(len(cache))
        )

    def get_next(self) -> dict[str, Floats] | None:
        """The next input, None at the end."""
        image = next(self._images, None)
        return None if image is None else {IMAGE: image}


def quantise(model: Path, cache: PixelCache, out: Path, method: CalibrationMethod) -> None:
    """Write the int8 version of `model`, calibrated on `cache`, at `out`.

    Raises ExportError when it is over `MAX_BYTES`.
    """
    size = PortableEngine(model).model.input.size
    with tempfile.TemporaryDirectory() as folder:
        prepared, small_path = (Path(folder) / name for name in ("prepared.onnx", "small.onnx"))
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(small_path),
            Calibration(cache, size),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=method,
        )
        small = onnx.load(small_path)
    metadata = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    metadata["edge.name"] += "_int8"
    del small.metadata_props[:]
    helper.set_model_props(small, metadata)
    data = small.SerializeToString()
    if len(data) > MAX_BYTES:
        raise ExportError(
            f"it would be {len(data)} bytes", where=out, remedy=f"a board takes {MAX_BYTES}"
        )
    write_bytes(out, data)


def agreement(one: Path, other: Path, cache: PixelCache) -> float:
    """Share of equal bits of two models over `cache`."""
    engines = [PortableEngine(path, threads=2) for path in (one, other)]
    size = engines[0].model.input.size
    equal = []
    for index in range(len(cache)):
        square = preprocess(cache[index], size)
        first, second = (engine.activations(square) > 0.5 for engine in engines)
        equal.append(float((first == second).mean()))
    return float(np.mean(equal))


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
@fail_in_one_line
def main(
    model: Path, data: tuple[Path, ...], out: Path, photos: int, calibration: str, seed: int
) -> None:
    """Command: see the module."""
    settle(seed)
    everything, _, _ = default_split(read_sets(data))
    rows = np.random.default_rng(seed).permutation(len(everything))[: 2 * photos]
    shown = open_cache([everything[int(row)] for row in rows[:photos]])
    for line in shown.skipped:
        say(f"skipped {line}")
    fresh = (
        open_cache([everything[int(row)] for row in rows[photos:]]) if rows[photos:].size else None
    )
    say(f"calibrating on {len(shown)} photos ({calibration})")
    quantise(model, shown, out, CalibrationMethod[calibration])
    report = {"model": str(out), "bytes": out.stat().st_size, "photos": len(shown)}
    if fresh is not None:
        report["equal_bits"] = agreement(model, out, fresh)
    else:
        say("no photo is left to compare the two models' bits on")
    click.echo(json.dumps(report))


if __name__ == "__main__":
    main()
