"""Count the Quantized CNN and its rivals on emulated boards, and estimate their times.

    python -m profiles.estimate.quantized_cnn FOLDER [TARGET...] [--onnx] [--fp32] [--out FILE]

FOLDER is that of `python -m training papers quantized-cnn`, or of `papers low-rank-pruned`. Each
network FOLDER/*/*.qcnn runs in the research program (training/papers/compressed/qcnn/native) on one
thread, warm; the fp32 ones only with --fp32. With --onnx, the ONNX files beside them run in ONNX
Runtime. What edge-runtime's own bundles take is copied from the report of `make estimate`, and
ncnn's AlexNet from the calibration of the estimates. The counts are exact; the times are estimates.
A file that was counted before is not counted again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from compile.emulation.counters import Counts
from compile.emulation.qemu import count_marks, count_program
from compile.emulation.userland import Userland
from compile.target.description import Target, read_target
from compile.target.toolchain import c_compiler, run
from edge_runtime.errors import ReportError
from edge_runtime.system.durable import write_file
from profiles.bench.support.results import exit_on_error
from profiles.estimate.calibration import Calibration, read_calibration
from profiles.estimate.latency import fit
from profiles.estimate.report import NOTE, likeness_of

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "training" / "papers" / "compressed" / "qcnn" / "native"
FLAGS = ("-std=gnu11", "-O3", "-static")  # as training/papers/compressed/qcnn/program.py
REPORT = ROOT / "profiles" / "reports" / "quantized_cnn.json"
ESTIMATES = ROOT / "profiles" / "reports" / "estimates.json"
TARGETS = ("rpi3", "rpi4")
LIMIT_S = 3600
OWN = {"fp32": "edge-runtime mobilenet/fp32", "int8": "edge-runtime mobilenet/int8"}
RIVAL = "ncnn alexnet/fp32"
SCRIPT = """
import ctypes, sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(one, *_) = session.get_inputs()
image = np.linspace(-1, 1, int(np.prod(one.shape))).reshape(one.shape).astype(np.float32)
mark = ctypes.CDLL(None).prctl
session.run(None, {one.name: image})
mark(0x45444745, 1)
session.run(None, {one.name: image})
mark(0x45444745, 2)
"""
Entry = dict[str, Any]


def files_of(folder: Path, onnx: bool, fp32: bool = False) -> dict[str, Path]:
    """Return the networks of a run's folder, "network/contender" -> file; raises ReportError."""
    found = {
        f"{path.parent.name}/{path.stem}": path
        for path in sorted(folder.glob("*/*.qcnn"))
        if fp32 or path.stem != "fp32"
    }
    if onnx:
        for path in sorted(folder.glob("*/*.onnx")):
            found[f"ONNX Runtime {path.parent.name}/{path.stem}"] = path
    if not found:
        raise ReportError(
            "no networks", where=folder, remedy="run python -m training papers quantized-cnn"
        )
    return found


def count(path: Path, target: Target, work: Path) -> Counts:
    """Count one warm picture of a network on the emulated CPU."""
    if path.suffix == ".onnx":
        userland = Userland()
        userland.make()
        regions, _ = count_marks(userland, target, "-c", SCRIPT, str(path), timeout=LIMIT_S)
        return regions[-1]
    program, sources = work / "qcnn", sorted(map(str, NATIVE.glob("*.c")))
    run([*c_compiler(target.triple), *FLAGS, *sources, "-lm", "-o", str(program)], work)
    head = np.fromfile(path, "<i4", 8)
    values = np.linspace(-1, 1, int(head[3]) * int(head[4]) ** 2).astype(np.float32)
    write_file(work / "picture.f32", values.tobytes())
    files = [str(path.resolve()), str(work / "picture.f32"), str(work / "answer.f32")]
    return count_program(program, target, *files, "1")[-1]


def digest(path: Path) -> str:
    """Return what the counts of a network depend on."""
    whole = hashlib.sha256(path.read_bytes())
    if path.suffix == ".qcnn":
        for source in sorted(NATIVE.glob("*.[ch]")):
            whole.update(source.read_bytes())
        whole.update(" ".join(FLAGS).encode())
    return whole.hexdigest()


def with_time(entry: Entry, target: Target, calibration: Calibration) -> Entry:
    """Return an entry with the instructions and the estimated milliseconds of its counts."""
    likeness = likeness_of(target)
    model = fit(likeness.core, calibration)
    counts = entry["counts"]
    memory_ns = model.memory_ns[likeness.memory]
    classes = set(counts) - {"vector_bytes", "l1_misses", "l2_misses"}
    return {
        **entry,
        "instructions": sum(counts[name] for name in classes),
        "estimated_ms": round(model.latency_ms(counts, target.clock_mhz, memory_ns), 2),
    }


def own_bundles(target: Target, estimates: Path = ESTIMATES) -> Iterator[tuple[str, Entry]]:
    """Yield what edge-runtime's bundles took, from the report of `make estimate`."""
    report = json.loads(estimates.read_text(encoding="utf-8"))
    for precision, name in OWN.items():
        bundle = report["targets"][target.name]["precisions"].get(precision)
        if bundle:
            counts = bundle["stages"]["hash"]["counts"]
            yield name, {"counts": counts, "file": bundle["library"]}


def published_rival(target: Target, calibration: Calibration) -> Entry:
    """Return ncnn's AlexNet in fp32: its counts, and the published time on this board, if any."""
    counts = calibration.counts[likeness_of(target).core]["alexnet"]
    memory = likeness_of(target).memory
    published = [board.latency_ms.get("alexnet") for board in calibration.boards
                 if board.board == memory]  # fmt: skip
    known = {"published_ms": published[0]} if published and published[0] else {}
    return {"counts": dict(counts), "file": calibration.source, **known}


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, metavar="[TARGET...]")
@click.option("--onnx", is_flag=True, help="Count ONNX Runtime, too (minutes per network).")
@click.option("--fp32", is_flag=True, help="Count the research program with fp32 weights, too.")
@click.option("--out", type=click.Path(path_type=Path), default=REPORT, show_default=True)
def main(folder: Path, names: tuple[str, ...], onnx: bool, fp32: bool, out: Path) -> None:
    """Count and estimate, and write the report after every network."""
    with exit_on_error("estimate"), tempfile.TemporaryDirectory() as work:
        report: Entry = {"schema_version": 1, "note": NOTE, "targets": {}}
        if out.exists():
            report = json.loads(out.read_text(encoding="utf-8"))
        calibration = read_calibration()
        files = files_of(folder, onnx, fp32)
        for name in names or TARGETS:
            target = read_target(name)
            found = report["targets"].setdefault(name, {"cpu": target.cpu, "counts": {}})["counts"]
            for what, entry in own_bundles(target):
                found[what] = with_time(entry, target, calibration)
            found[RIVAL] = with_time(published_rival(target, calibration), target, calibration)
            for what, path in files.items():
                mark = digest(path)
                if found.get(what, {}).get("file") != mark:
                    click.echo(f"{name}: {what}", err=True)
                    counts = count(path, target, Path(work)).as_dict()
                    found[what] = {"counts": counts, "file": mark}
                found[what] = with_time(found[what], target, calibration)
                write_file(out, (json.dumps(report, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
