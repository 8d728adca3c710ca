"""Count published networks on the emulated CPUs, for the calibration of the estimates.

    python -m profiles.estimate.nets FOLDER [--core cortex-a72] [--only squeezenet]

FOLDER holds the .param files of ncnn's own benchmark, github.com/Tencent/ncnn, benchmark/models at
a4d2ea1d (`git clone`, or the archive of a release). Their times on real boards are published beside
them. This command runs the same networks in the same way (zero weights, one thread, default
options) in ncnn's own wheel for ARM and counts the second call: instructions by class, and cache
misses. The counts go to profiles/calibration/counts.json; existing counts are not repeated. All
networks together take about half an hour on one core.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from compile.emulation.qemu import count_marks
from compile.emulation.userland import Userland
from compile.target.description import read_target
from edge_runtime.errors import ReportError
from profiles.bench.peers.emulated import install, pinned
from profiles.bench.support.results import exit_on_error, write_report

COUNTS = Path(__file__).resolve().parent.parent / "calibration" / "counts.json"
CORES = {"cortex-a53": "rpi3", "cortex-a72": "rpi4", "cortex-a76": "rpi5"}
"""Core, and the device whose caches and emulated CPU represent it."""
SIZES = {
    "alexnet": 227,
    "efficientnet_b0": 224,
    "googlenet": 224,
    "googlenet_int8": 224,
    "mnasnet": 224,
    "mobilenet": 224,
    "mobilenet_int8": 224,
    "mobilenet_ssd_int8": 300,
    "mobilenet_v2": 224,
    "mobilenet_v3": 224,
    "proxylessnasnet": 224,
    "regnety_400m": 224,
    "resnet18": 224,
    "resnet18_int8": 224,
    "shufflenet": 224,
    "shufflenet_v2": 224,
    "squeezenet": 227,
    "squeezenet_int8": 227,
}
"""Network, and the side of its input in pixels, as in ncnn's benchncnn.cpp."""
SCRIPT = """
import ctypes, sys
import numpy as np
import ncnn
net = ncnn.Net()
net.opt.num_threads = 1
net.load_param(sys.argv[1])
net.load_model(ncnn.DataReaderFromEmpty())
size = int(sys.argv[2])
mat = ncnn.Mat(np.full((3, size, size), 0.01, np.float32))
mark = ctypes.CDLL(None).prctl
for _ in range(2):
    mark(0x45444745, 1)
    extractor = net.create_extractor()
    for name in net.input_names():
        extractor.input(name, mat)
    for name in net.output_names():
        extractor.extract(name)
    mark(0x45444745, 2)
"""


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--core", "cores", multiple=True, type=click.Choice(sorted(CORES)))
@click.option("--only", multiple=True, type=click.Choice(sorted(SIZES)))
def main(folder: Path, cores: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Count the networks on every core."""
    with exit_on_error("nets"):
        count(folder, cores or tuple(sorted(CORES)), only or tuple(sorted(SIZES)))


def count(folder: Path, cores: tuple[str, ...], nets: tuple[str, ...]) -> None:
    """Count the missing networks and save the counts after each."""
    stored: dict[str, Any] = {"schema_version": 1, "ncnn": pinned("ncnn"), "counts": {}}
    if COUNTS.exists():
        stored = json.loads(COUNTS.read_text(encoding="utf-8"))
    userland = Userland()
    userland.make()
    install(userland, "ncnn")
    for core in cores:
        core_counts = stored["counts"].setdefault(core, {})
        for net in nets:
            path = folder / f"{net}.param"
            if net in core_counts:
                continue
            if not path.exists():
                raise ReportError(
                    "file not found", where=path, remedy="name ncnn's benchmark/models"
                )
            target = read_target(CORES[core])
            regions, _ = count_marks(userland, target, "-c", SCRIPT, str(path), str(SIZES[net]))
            core_counts[net] = regions[-1].as_dict()
            click.echo(f"{core} {net}: {core_counts[net]}", err=True)
            write_report(stored, COUNTS)


if __name__ == "__main__":
    main()
