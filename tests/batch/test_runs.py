"""Runs of `edge-runtime hash`: two at once, damage, full disks, interruption, memory, terminal."""

from __future__ import annotations

import hashlib
import os
import pty
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

import pytest

from edge_runtime.batch.journal import Journal, journal_path
from edge_runtime.batch.output import write_output
from edge_runtime.batch.tree import Found
from edge_runtime.batch.work import Hashed, Method
from edge_runtime.engine import open_engine
from edge_runtime.errors import (
    InputError,
    StorageError,
)
from tests.support.batch import (
    faulty_decoder,
    hash_into,
    photo,
    read_lines,
    start_hash,
    write_photos,
)
from tests.support.processes import ROOT, run_cli


def test_two_runs_cannot_write_one_output(photos: Path, tmp_path: Path, model: Path) -> None:
    engine = open_engine(model)
    output = tmp_path / "codes.jsonl"
    journal = Journal(output, Method(engine.model.id, engine.model.bits, 0, 1))
    done = run_cli("hash", photos, "--out", output, "--model", model)
    assert done.returncode == StorageError.exit_code, done.stderr
    assert done.stderr.startswith(f"edge-runtime: {output}: another run writes this output (")
    journal.close()
    assert run_cli("hash", photos, "--out", output, "--model", model).returncode == 0


def test_a_damaged_journal_begins_again(photos: Path, tmp_path: Path, model: Path) -> None:
    output = tmp_path / "codes.jsonl"
    hash_into(photos, output, model)
    before = output.read_bytes()
    journal_path(output).write_bytes(b"no database" * 1000)
    result = hash_into(photos, output, model)
    assert result.hashed == 12
    assert output.read_bytes() == before


def test_the_command_reports_and_is_quiet(photos: Path, tmp_path: Path, model: Path) -> None:
    (photos / "damaged.jpg").write_bytes(b"no photo")
    output = tmp_path / "codes.jsonl"
    arguments = ("hash", photos, "--out", output, "--model", model, "--workers", 2)
    done = run_cli(*arguments)
    assert done.returncode == InputError.exit_code
    assert done.stdout == (
        f"{output}: 12 codes of 13 photos (12 hashed now, 0 duplicates, 1 failed)\n"
    )
    assert done.stderr.startswith(f"edge-runtime: {photos}/damaged.jpg: ")
    assert done.stderr.count("\n") == 1
    assert '"failures_file"' in run_cli(*arguments, "--json").stdout
    wrong = run_cli("hash", photos, "--out", output, "--send")
    assert wrong.returncode == 2
    assert "--send requires --cluster" in wrong.stderr


def test_a_full_disk_leaves_what_is_durable(small_disk: Path, tmp_path: Path, model: Path) -> None:
    photos = write_photos(tmp_path / "photos", 1500)
    output = small_disk / "codes.jsonl"
    done = run_cli("hash", photos, "--out", output, "--model", model)
    assert done.returncode == StorageError.exit_code, done.stderr
    assert "the disk is full" in done.stderr
    assert not output.exists()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    hash_into(photos, output, model)
    hash_into(photos, tmp_path / "plain.jsonl", model)
    assert output.read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


def test_ctrl_c_keeps_what_is_hashed(photos: Path, tmp_path: Path, model: Path) -> None:
    write_photos(photos, 400)
    output = tmp_path / "codes.jsonl"
    process = start_hash(photos, "--out", output, "--model", model)
    while not journal_path(output).exists():
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, 0)
    if process.returncode:
        assert errors.strip() == "edge-runtime: interrupted"
    hash_into(photos, output, model)
    assert len(read_lines(output)) == 401


@pytest.mark.slow
def test_more_photos_need_no_more_memory(tmp_path: Path) -> None:
    """Only a part of them is in memory while they are found, hashed and written."""

    def hash_all(count: int, name: str) -> int:
        method = Method("0" * 64, 64, 0, 1)
        tracemalloc.start()
        with closing(Journal(tmp_path / name, method)) as journal:
            for _ in journal.add(Found(b"/p/%d.jpg" % n, "p", n, 1) for n in range(count)):
                pass
            waiting = journal.waiting()
            while tasks := list(islice(waiting, 100)):
                journal.record(
                    Hashed(task.photo, hashlib.sha256(task.photo).digest(), bytes(8), b"")
                    for task in tasks
                )
            assert write_output(journal) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    for name in ("a.jsonl", "a.npz"):
        few, many = hash_all(5_000, f"few-{name}"), hash_all(20_000, f"many-{name}")
        assert many < 1.3 * few


def test_a_terminal_shows_the_progress(photos: Path, tmp_path: Path, model: Path) -> None:
    variables = faulty_decoder(tmp_path / "faulty", delay_s=0.3)
    (photos / "damaged.jpg").write_bytes(b"no photo")
    (photos / "copy.jpg").write_bytes(photo(0))
    terminal, end = pty.openpty()
    arguments = ("hash", photos, "--out", tmp_path / "codes.jsonl", "--model", model)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=end,
        cwd=ROOT,
        env={**os.environ, **variables, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(end)
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    assert process.wait() == 3
    for text in (b"hashing", b"/14", b"photos/s", b"1 failed", b"1 duplicate"):
        assert text in shown, shown[-2000:]
