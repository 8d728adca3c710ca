"""The harness finds each kind of failure and stores the input; each reader reads its corpus."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.fuzz import harness
from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS


def _read(data: bytes) -> None:
    if data == b"refused":
        raise ValueError("refused")
    if data == b"error":
        raise RuntimeError("no such")
    if data == b"lines":
        raise ValueError("one\ntwo")
    if data == b"print":
        os.write(2, b"libjpeg's own line\n")
    if data == b"memory":
        bytearray(1 << 30)
    if data == b"crash":
        os.abort()


def faulty() -> Reader:
    """A reader that fails on some inputs; FUZZ_SEED names the one to start from."""
    seed = os.environ["FUZZ_SEED"].encode()
    return Reader("faulty", lambda: [b"refused", seed], _read, (ValueError,))


@pytest.mark.parametrize(
    ("seed", "failure"),
    [
        ("fine", ""),
        ("error", "RuntimeError: no such"),
        ("lines", "an error of several lines"),
        ("print", "it printed to stderr"),
        ("memory", "MemoryError"),
        ("crash", "killed by SIGABRT"),
    ],
)
def test_the_first_failing_input_is_stored(
    seed: str, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "import sys\nfrom tests.fuzz import readers, test_fuzz, __main__ as program\n"
        "readers.READERS['faulty'] = test_fuzz.faulty\nsys.exit(program.main())\n"
    )
    starter = tmp_path / "python"
    starter.write_text(f'#!/bin/sh\nshift 2\nPYTHONPATH=. exec {sys.executable} {script} "$@"\n')
    starter.chmod(0o755)
    monkeypatch.setenv("FUZZ_SEED", seed)
    monkeypatch.setattr(sys, "executable", str(starter))
    outcome = harness.run("faulty", 0, tmp_path / "kept")
    assert outcome.inputs == (1 if seed == "crash" else 2)
    assert failure in outcome.failure
    assert bool(outcome.failure) == bool(failure)
    assert (outcome.saved.read_bytes() if outcome.saved else None) == (
        seed.encode() if failure else None
    )


@pytest.mark.parametrize("name", READERS)
def test_each_reader_reads_its_corpus(name: str, tmp_path: Path) -> None:
    """`make fuzz` continues with random inputs."""
    outcome = harness.run(name, 0, tmp_path)
    assert not outcome.failure
    assert outcome.inputs == len(READERS[name]().corpus())
