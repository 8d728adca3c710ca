"""The network beside its peers on an emulated ARM CPU: instructions and cache misses, no times.

    python -m profiles.bench.emulated rpi4 [--out profiles/reports/emulated-rpi4.json]

One call each, one thread, all warm, counted by compile/emulation/counts.c. Ours are the bundles
build/TARGET (fp32), build/TARGET-fp16 and build/TARGET-int8, whichever there are.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from compile.counts import Counts
from compile.emulator import count_library, count_onnxruntime, count_script
from compile.front import read_network
from compile.pictures import write_pictures
from compile.target import Target, read_target
from compile.userland import PLATFORMS, PYTHON, ROOT, Userland
from profiles.bench.network import MODEL, MODELS, QUANTISED, picture_of
from profiles.bench.peers import write_ncnn
from profiles.bench.report import deliver

NCNN = "1.0.20261020"
NCNN_SCRIPT = """
import ctypes, sys
import numpy as np
import ncnn
net = ncnn.Net()
net.opt.num_threads = 1
half = sys.argv[3] == "fp16"
for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
    setattr(net.opt, "use_" + name, half and name.startswith("fp16"))
net.load_param(sys.argv[1])
net.load_model(sys.argv[2])
mat = ncnn.Mat(np.linspace(-1, 1, 3 * 224 * 224, dtype=np.float32).reshape(3, 224, 224))
mark = ctypes.CDLL(None).prctl
def run():
    extractor = net.create_extractor()
    extractor.input("image", mat)
    return extractor.extract("hash")
run()
mark(0x45444745, 1)
run()
mark(0x45444745, 2)
"""


def rows(target: Target) -> Iterator[tuple[str, Counts]]:
    """Every contender that runs on `target`."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_pictures(np.stack([picture_of(224)] * 2), work / "pictures.bgr")
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
        yield "ONNX Runtime fp32", count_onnxruntime(userland, MODELS / MODEL, target)
        yield "ONNX Runtime int8", count_onnxruntime(userland, MODELS / QUANTISED, target)
        install_ncnn(userland)
        write_ncnn(read_network(MODELS / MODEL), work / "net.param", work / "net.bin")
        files = (str(work / "net.param"), str(work / "net.bin"))
        yield "ncnn fp32", count_script(userland, target, NCNN_SCRIPT, *files, "fp32")
        if "asimdhp" in target.features:
            yield "ncnn fp16", count_script(userland, target, NCNN_SCRIPT, *files, "fp16")


def install_ncnn(userland: Userland) -> None:
    """ncnn's own wheel for the emulated CPU, once."""
    if (userland.site / "ncnn").exists():
        return
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--target", str(userland.site), *platforms, "--python-version", PYTHON,
        "--implementation", "cp", "--only-binary=:all:", f"ncnn=={NCNN}",
    ]  # fmt: skip
    subprocess.run(command, check=True)


@click.command(help=__doc__)
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path))
def main(name: str, out: Path | None) -> None:
    """Command: see the module."""
    target = read_target(name)
    counts: dict[str, Any] = {}
    for what, found in rows(target):
        counts[what] = {
            "instructions": found.instructions,
            "multiply_add_instructions": found.by_class["fma"],
            "l1_misses": found.l1_misses,
            "l2_misses": found.l2_misses,
            "estimated_mcycles": round(found.cycles(target) / 1e6, 1),
        }
        click.echo(f"{what}: {counts[what]}", err=True)
    report = {
        "schema_version": 1,
        "emulated": True,
        "target": target.name,
        "board": target.board,
        "cpu": target.cpu,
        "counts": counts,
    }
    deliver(report, out)


if __name__ == "__main__":
    main()
