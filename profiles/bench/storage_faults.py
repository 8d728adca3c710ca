"""Let the disk below a gallery fail in every phase: I/O errors, a full disk, truncated files.

Each fault happens in a process of its own, forked from one that has loaded a library which fails
chosen calls (tests/support/failing_disk.c). An operation must end with its result or with an error
of this program, and after an error the gallery must be intact.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import edge_runtime.gallery.features.memory as memory
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EdgeRuntimeError, ReportError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.exchange.export import export_codes
from edge_runtime.gallery.exchange.reading import import_into
from edge_runtime.gallery.maintenance import compact, verify
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.upkeep.repair import repair

ROOT = Path(__file__).parents[2]
MODEL = FakeEngine().model
QUERY = np.array([7], np.uint64)
TIMES = 8
"""Calls of each kind that fail in turn."""
LIMIT_S = 60
Fault = tuple[str, str, int]
"""The phase, the kind of fault, and which call fails or how many eighths of the file remain."""


def _codes(count: int) -> list[LabeledCode]:
    return [LabeledCode("cat", np.array([n], np.uint64), f"{n}.jpg") for n in range(count)]


def _search(path: Path) -> None:
    with Gallery(path, MODEL) as gallery:
        gallery.search(QUERY)


def _enroll(path: Path) -> None:
    with Gallery(path, MODEL) as gallery:
        gallery.enroll(_codes(3))
        gallery.search(QUERY)


def _remove(path: Path) -> None:
    with Gallery(path, MODEL) as gallery:
        gallery.remove(ids=[1, 2])


def _import(path: Path) -> None:
    with Gallery(path, MODEL) as gallery:
        import_into(gallery, path.with_name("gallery.sqlite.jsonl"))


def _export(path: Path) -> None:
    with Gallery(path, MODEL, read_only=True) as gallery:
        export_codes(path.with_name("gallery.sqlite.npz"), META, gallery.content())


META = Meta(MODEL.id, MODEL.bits)
PHASES: dict[str, Callable[[Path], object]] = {
    "search": _search,
    "enroll": _enroll,
    "remove": _remove,
    "import": _import,
    "export": _export,
    "backup": lambda path: backup(path, path.with_name("gallery.sqlite.copy")),
    "restore": lambda path: restore(path, path.with_name("gallery.sqlite.old")),
    "compact": compact,
    "repair": repair,
    "verify": verify,
}
CALLS = {
    "EIO on writing": (errno.EIO, 0),
    "ENOSPC on writing": (errno.ENOSPC, 0),
    "EIO on reading": (errno.EIO, 1),
}
FILES = {"database cut": "", "log cut": "-wal", "snapshot file cut": ".codes"}


def all_faults() -> Iterator[Fault]:
    """Yield every fault."""
    for phase in PHASES:
        for kind in CALLS:
            yield from ((phase, kind, number) for number in range(1, TIMES + 1))
        yield from ((phase, kind, eighths) for kind in FILES for eighths in (0, 4))


def inject_storage_faults() -> dict[str, int]:
    """Return the number of faults of each kind; raises `ReportError` if one was not survived."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise ReportError("no C compiler to build the failing disk with", remedy="install gcc")
    with tempfile.TemporaryDirectory(prefix="edge-storage-") as folder:
        library = Path(folder, "failing_disk.so")
        source = ROOT / "tests" / "support" / "failing_disk.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        done = subprocess.run(
            [sys.executable, "-m", "profiles.bench.storage_faults", folder],
            env={**os.environ, "LD_PRELOAD": str(library)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ReportError(f"a storage fault was not survived: {done.stderr[-500:]}")
    kinds: dict[str, int] = json.loads(done.stdout)
    return kinds


def _survive_all(folder: Path) -> int:
    """In a process with the failing disk: inject every fault in a child; return the exit code."""
    memory.SNAPSHOT_FROM = 0
    whole = folder / "whole"
    whole.mkdir()
    path = whole / "gallery.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(_codes(200))
        gallery.search(QUERY)
        export_codes(whole / "gallery.sqlite.jsonl", META, gallery.content())
    backup(path, whole / "gallery.sqlite.old")
    for fault in all_faults():
        child = os.fork()
        if not child:
            signal.alarm(LIMIT_S)
            os._exit(_survive(folder, whole, fault))
        status = os.waitpid(child, 0)[1]
        if status:
            sys.stderr.write(f"{fault}: {status}\n")
            return 1
    json.dump(Counter(kind for _, kind, _ in all_faults()), sys.stdout)
    return 0


def _survive(folder: Path, whole: Path, fault: Fault) -> int:
    phase, kind, number = fault
    here = folder / "here"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(whole, here)
    path = here / "gallery.sqlite"
    disk = ctypes.CDLL(None)
    try:
        with Gallery(path, MODEL):  # so that there is a log
            if kind in FILES:
                file = path.with_name(path.name + FILES[kind])
                if file.exists():
                    os.truncate(file, file.stat().st_size * number // 8)
        if kind in CALLS:
            disk.fail(number, *CALLS[kind])
        PHASES[phase](path)
    except EdgeRuntimeError:
        pass
    finally:
        disk.fail(0, 0, 0)
    if kind == "database cut":
        return 0
    if not path.exists():
        return 2
    faults = [line for line in verify(path) if not line.startswith("gallery.sqlite.codes")]
    if faults:
        sys.stderr.write(f"{fault}: {faults}\n")
    return 3 if faults else 0


if __name__ == "__main__":
    sys.exit(_survive_all(Path(sys.argv[1])))
