"""fp32 ONNX -> int8 QDQ ONNX: weights per channel, activations calibrated on training photos.

    python -m training.quantise --model FILE.onnx --data DIR... --out FILE.int8.onnx

The file keeps the model's self-description, so the runtime opens it like any other.
"""

from __future__ import annotations

import json
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
from edge_runtime.fit import fit
from training.cache import PixelCache, open_cache
from training.cli import fail_in_one_line, say, settle
from training.data import read_sets
from training.export import IMAGE, ExportError, Floats
from training.features import to_input
from training.splits import official

MAX_BYTES = 3_700_000
PHOTOS = 300


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Feeds fitted photos, one at a time."""

    def __init__(self, cache: PixelCache, size: int):
        self._images: Iterator[Floats] = (
            to_input(fit(cache[index], size)) for index in range(len(cache))
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
    prepared = out.with_name(out.name + ".prepared")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out),
            Calibration(cache, size),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=method,
        )
    finally:
        prepared.unlink(missing_ok=True)
    small = onnx.load(out)
    metadata = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    metadata["edge.name"] += "_int8"
    del small.metadata_props[:]
    helper.set_model_props(small, metadata)
    onnx.save(small, out)
    if out.stat().st_size > MAX_BYTES:
        raise ExportError(
            f"{out.stat().st_size} bytes", where=out, remedy=f"a board takes {MAX_BYTES}"
        )


def agreement(one: Path, other: Path, cache: PixelCache) -> float:
    """Share of equal bits of two models over `cache`."""
    engines = [PortableEngine(path, threads=2) for path in (one, other)]
    size = engines[0].model.input.size
    equal = []
    for index in range(len(cache)):
        square = fit(cache[index], size)
        first, second = (engine.activations(square) > 0.5 for engine in engines)
        equal.append(float((first == second).mean()))
    return float(np.mean(equal))


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="An fp32 ONNX hash model.")
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--out", type=Path, required=True)
@click.option("--photos", default=PHOTOS, show_default=True, help="To calibrate on.")
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
    everything, _ = official(read_sets(data))
    rows = np.random.default_rng(seed).permutation(len(everything))[: 2 * photos]
    say(f"calibrating on {photos} photos ({calibration})")
    quantise(
        model,
        open_cache([everything[int(row)] for row in rows[:photos]]),
        out,
        CalibrationMethod[calibration],
    )
    fresh = open_cache([everything[int(row)] for row in rows[photos:]])
    share = agreement(model, out, fresh)
    click.echo(json.dumps({"model": str(out), "bytes": out.stat().st_size, "equal_bits": share}))


if __name__ == "__main__":
    main()
