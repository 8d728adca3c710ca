"""Commands that lose SQLite's shared memory (NAME-shm): they start again, or end with one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import StorageError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.lookup.compiled import hamming

pytestmark = pytest.mark.skipif(hamming is None, reason="built without a C compiler")

MODEL = FakeEngine().model
COMMAND = """
import os, sys
import numpy as np
from edge_runtime.cli.process.restart import _LAST_START, may_start_again, open_to_read
from edge_runtime.cli.process.streams import guard_streams
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
path, role = sys.argv[1:]
guard_streams()
print("process", os.getpid(), file=sys.stderr)
if role in ("enroll", "library"):
    gallery = Gallery(path, FakeEngine().model, read_only=role == "library")
else:
    gallery = open_to_read(path, FakeEngine().model)
if role == "service":
    may_start_again(service=True)
gallery.search(np.array([1], np.uint64))
if role in ("service", "printed"):
    print("first", flush=True)
if not _LAST_START or role == "twice":
    os.truncate(path + "-shm", 0)
if role == "enroll":
    gallery.enroll([LabeledCode("late", np.array([2], np.uint64))])
else:
    gallery.search(np.array([1], np.uint64))
print("done")
"""
AGAIN = (
    "edge-runtime: a file that this process has mapped was truncated, or its disk reported an I/O "
    "error (starting again)"
)
ENDED = AGAIN.replace("starting again", "check the disk, and start the command again")


@pytest.mark.parametrize(
    ("role", "starts", "says", "prints"),
    [
        ("query", 2, [AGAIN], ["done"]),
        ("service", 2, [AGAIN], ["first", "first", "done"]),
        ("printed", 1, [ENDED], ["first"]),
        ("twice", 2, [AGAIN, ENDED], []),
        ("enroll", 1, [ENDED], []),
        ("library", 1, [ENDED], []),
    ],
)
def test_a_cut_of_the_shared_memory(
    tmp_path: Path, role: str, starts: int, says: list[str], prints: list[str]
) -> None:
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([LabeledCode("one", np.array([1], np.uint64))])
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, path, role], capture_output=True, text=True, check=False
    )
    lines = done.stderr.splitlines()
    processes = [line for line in lines if line.startswith("process")]
    assert len(processes) == starts
    assert len(set(processes)) == 1  # the same process throughout
    assert [line for line in lines if line not in processes] == says
    assert done.stdout.splitlines() == prints
    assert done.returncode == (0 if prints[-1:] == ["done"] else StorageError.exit_code)
    with Gallery(path, MODEL) as gallery:  # the next process makes the file again
        assert gallery.search(np.array([1], np.uint64))[0].label == "one"


@pytest.mark.parametrize(
    "arguments", [(None,), ([], [], 0), ([b"a"], [], 0), (["a"], [b"a=0"], 0), ([b"a"], [b"a"], 0)]
)
def test_a_start_needs_arguments_and_a_variable(arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        hamming.start_again(*arguments)
