"""Try random inputs in a child under a memory limit, and keep the first that fails.

The child stores each input before it reads it. So the input that ends or hangs the child is known.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.mutate import mutate
from tests.fuzz.reader import Reader
from tests.support.processes import ROOT

INPUT_S = 60.0
"""Longest time for one input; generous, since other programs may run beside it."""
_START_S = 120.0
_MOST_INPUTS = 2000
"""Inputs that are kept as the start of others."""
_FAILED = 3
"""Exit code of a child whose reader failed."""


class Outcome(NamedTuple):
    """What became of one run."""

    inputs: int
    failure: str
    """What went wrong, one line; empty if nothing did."""
    saved: Path | None
    """The file with the failing input."""


def run(name: str, seconds: float, folder: Path, *, seed: int = 0) -> Outcome:
    """Fuzz the reader `name` for `seconds`; store a failing input in `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        command = [sys.executable, "-m", "tests.fuzz", name, "--child", scratch]
        command += ["--seed", str(seed), "--seconds", str(seconds)]
        with (work / "stderr").open("wb") as stderr:
            child = subprocess.Popen(command, cwd=ROOT, stderr=stderr, start_new_session=True)
        try:
            fault = _watch(child, work)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        count = int(_text(work / "count") or 0)
        if not fault:
            return Outcome(count, "", None)
        saved = None
        if (work / "current").exists():
            data = (work / "current").read_bytes()
            folder.mkdir(parents=True, exist_ok=True)
            saved = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            saved.write_bytes(data)
        return Outcome(count, f"{fault}: {_text(work / 'stderr')[-2000:]}".strip(": \n"), saved)


def read_all(reader: Reader, work: Path, seconds: float, seed: int) -> int:
    """Read the corpus and then random inputs, in this process; return the exit code.

    `work` receives the current input, and the count of inputs at the end.
    """
    _limit_memory(reader.memory_mb << 20)
    rng, pool = random.Random(seed), [data for data in reader.corpus() if data]
    first, end_s = list(reversed(pool)), time.monotonic() + seconds
    count, outcomes = 0, set[str]()
    while first or time.monotonic() < end_s:
        data = first.pop() if first else mutate(rng.choice(pool), pool, rng)
        (work / "current").write_bytes(data)
        outcome, fault = read_one(reader, data)
        if fault:
            sys.stderr.write(f"{fault}\n")
        (work / "count").write_text(str(count := count + 1))
        if fault:
            return _FAILED
        if outcome not in outcomes and len(pool) < _MOST_INPUTS:
            outcomes.add(outcome)  # an input that ends in a new way is a good start
            pool.append(data)
    return 0


def read_one(reader: Reader, data: bytes) -> tuple[str, str]:
    """Return how `reader` ended, without numbers, and what is wrong with that (often nothing)."""
    before = os.fstat(2).st_size
    try:
        reader.read(data)
        outcome = "read"
    except reader.allowed as error:
        outcome = re.sub(r"\d+", "0", str(error))
        if "\n" in str(error):
            return outcome, f"an error of several lines: {error!r}"
    except Exception as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        return "", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    return outcome, "it printed to stderr" if os.fstat(2).st_size > before else ""


def _watch(child: subprocess.Popen[bytes], work: Path) -> str:
    """Wait for the end of the child; return what is wrong with it."""
    start_s = time.time()
    while child.poll() is None:
        try:
            late = time.time() - (work / "current").stat().st_mtime > INPUT_S
        except FileNotFoundError:
            late = time.time() - start_s > _START_S
        if late:
            return f"no end after {INPUT_S:g} s"
        time.sleep(0.2)
    if child.returncode == _FAILED:
        return "failed"
    if child.returncode < 0:
        return f"killed by {signal.Signals(-child.returncode).name}"
    return f"exit code {child.returncode}" if child.returncode else ""


def _limit_memory(more: int) -> None:
    """Let this process and its children allocate at most `more` bytes beyond what it has."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmData:\s+(\d+) kB", status)
    limit = int(found[1]) * 1024 + more if found else more
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
