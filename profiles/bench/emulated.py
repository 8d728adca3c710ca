"""Count instructions and cache misses of the network and its peers on an emulated ARM CPU.

    make bench-emulated TARGET=rpi4

Each contender makes one warm call on one thread, which compile/emulation/counts.c counts. The
bundles are build/TARGET (fp32), build/TARGET-fp16 and build/TARGET-int8, if they exist. A
peer that does not run on the target is left out, and the report states the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime

from compile.emulation.counters import Counts
from compile.emulation.picture_file import write_pictures
from compile.emulation.qemu import count_library, count_marks, count_onnxruntime
from compile.emulation.userland import ROOT, Userland
from compile.frontend.onnx_importer import read_network
from compile.target.description import Target, read_target
from edge_runtime.image.preprocess import normalize
from profiles.bench.peers.emulated import PEERS, Case, outcome
from profiles.bench.support.interleaved_timing import CLOSE
from profiles.bench.support.network_input import MODEL, QUANTIZED_MODEL, sample_picture
from profiles.bench.support.results import exit_on_error, write_report


def rows(target: Target) -> Iterator[tuple[str, Counts | str]]:
    """Yield every contender with its counts on `target`, or with the reason why it is left out."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_pictures(np.stack([sample_picture(224)] * 2), work / "pictures.bgr")
        for precision in ("fp32", "fp16", "int8"):
            name = target.name if precision == "fp32" else f"{target.name}-{precision}"
            library = ROOT / "build" / name / "libedge.so"
            if library.exists():
                yield (
                    f"edge-runtime {precision}",
                    count_library(library, work / "pictures.bgr", target),
                )
        userland = Userland()
        userland.make()
        yield "ONNX Runtime fp32", count_onnxruntime(userland, MODEL, target)
        yield "ONNX Runtime int8", count_onnxruntime(userland, QUANTIZED_MODEL, target)
        case, count = _case(), partial(count_marks, userland, target)
        for peer in PEERS:
            yield peer.name, outcome(peer, case, target, userland, count, work)


def _case() -> Case:
    """Return the picture for all contenders, with the activations of the reference."""
    network = read_network(MODEL)
    size = network.model.input.size
    tensor = np.empty((3, size, size), np.float32)
    normalize(sample_picture(size), network.model.input, tensor)
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    (answer,) = session.run(["hash"], {session.get_inputs()[0].name: tensor[None]})
    return Case(MODEL, tensor, np.asarray(answer[0], np.float32), CLOSE)


@click.command(help=__doc__)
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path))
def main(name: str, out: Path | None) -> None:
    """Count every contender and write the report."""
    with exit_on_error("bench"):
        write_report(_report(read_target(name)), out)


def _report(target: Target) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for contender, result in rows(target):
        if isinstance(result, str):
            left_out[contender] = result
            click.echo(f"{contender} is left out: {result}", err=True)
            continue
        counts[contender] = {
            "instructions": result.instructions,
            "multiply_add_instructions": result.by_class["fma"],
            "l1_misses": result.l1_misses,
            "l2_misses": result.l2_misses,
            "estimated_mcycles": round(result.cycles(target) / 1e6, 1),
        }
        click.echo(f"{contender}: {counts[contender]}", err=True)
    return {
        "schema_version": 1,
        "emulated": True,
        "target": target.name,
        "board": target.board,
        "cpu": target.cpu,
        "multiply_adds": read_network(MODEL).multiply_adds,
        "counts": counts,
        "left_out": left_out,
    }


if __name__ == "__main__":
    main()
