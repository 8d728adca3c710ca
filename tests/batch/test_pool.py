"""Processes that hash: photos that hang or crash them, kills at any instant, orphans."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from edge_runtime.batch import pool as pool_module
from edge_runtime.batch.journal import journal_path
from edge_runtime.batch.output import failures_path
from edge_runtime.batch.pool import Pool
from edge_runtime.batch.run import HashOptions, hash_photos
from edge_runtime.batch.work import Hashed, Outcome, Setup, Task, method_of
from edge_runtime.engine import open_engine
from edge_runtime.errors import ModelInvalidError, ModelNotFoundError, ResourceError
from tests.support.batch import (
    CRASH,
    HANG,
    faulty_decoder,
    photo,
    read_lines,
    start_hash,
    tiny_model,
    write_photos,
)
from tests.support.processes import patience
from tests.support.tiny_onnx import TinyModel, weights

ROUNDS = int(os.environ.get("EDGE_RUNTIME_KILLS", "20")) // 4
"""Kills of the whole run. The long run uses EDGE_RUNTIME_KILLS=500."""


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    model = tiny_model(tmp_path / "model")
    return Setup(str(model), method_of(open_engine(model), features=False, views=False))


def _tasks(folder: Path) -> list[Task]:
    return [Task(os.fsencode(path), str(path)) for path in sorted(folder.rglob("*.jpg"))]


def _plain(photos: Path, folder: Path, model: str) -> bytes:
    """The output of one process that nothing happens to."""
    output = folder / "plain.jsonl"
    hash_photos((photos,), output, HashOptions(model))
    return output.read_bytes()


def _run(pool: Pool, tasks: list[Task]) -> dict[bytes, Outcome]:
    outcomes = [each for each in pool.run(tasks) if each is not None]
    assert sorted(each.photo for each in outcomes) == sorted(task.photo for task in tasks)
    return {each.photo: each for each in outcomes}


def test_photos_that_hang_or_crash_fail_alone(
    tmp_path: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in faulty_decoder(tmp_path / "faulty").items():
        monkeypatch.setenv(name, value)
    photos = write_photos(tmp_path / "photos", 40)
    hanging, crashing = photos / "label 0" / "hang.jpg", photos / "label 1" / "crash.jpg"
    hanging.write_bytes(photo(50, HANG))
    crashing.write_bytes(photo(51, CRASH))
    limit_s = 1.5 * patience()
    with Pool(setup, 2, photo_limit_s=limit_s) as pool:
        outcomes = _run(pool, _tasks(photos))
    failed = {
        os.fsdecode(photo): outcome.what
        for photo, outcome in outcomes.items()
        if not isinstance(outcome, Hashed)
    }
    assert failed == {
        str(hanging): f"does not end within {limit_s:g} s, in 2 attempts",
        str(crashing): "ends the process that hashes it (SIGSEGV), in 3 attempts",
    }


def test_killed_and_frozen_processes_are_replaced(
    tmp_path: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in faulty_decoder(tmp_path / "faulty", delay_s=0.02).items():
        monkeypatch.setenv(name, value)
    photos = write_photos(tmp_path / "photos", 120)
    chance = random.Random(1)
    count = 0
    with Pool(setup, 2, photo_limit_s=5 * patience()) as pool:
        for outcome in pool.run(_tasks(photos)):
            if outcome is None:
                continue
            assert isinstance(outcome, Hashed), outcome
            count += 1
            if count % 20 == 0:
                victim = chance.choice(pool.pids())
                os.kill(victim, signal.SIGSTOP if count == 60 else signal.SIGKILL)
    assert count == 120


def test_another_model_is_refused(tmp_path: Path, setup: Setup) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    TinyModel(weights(2)).write(Path(setup.model))
    with Pool(setup, 1) as pool, pytest.raises(ModelInvalidError, match="this is model"):
        list(pool.run(_tasks(photos)))
    Path(setup.model).unlink()
    with Pool(setup, 1) as pool, pytest.raises(ModelNotFoundError, match="no such model"):
        pool.start()


def test_processes_that_cannot_start_are_an_error(
    tmp_path: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with Pool(setup, 2) as pool, pytest.raises(ResourceError, match=r"start \(exit code 7\)"):
        pool.start()


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [
            each
            for each in psutil.Process(pid).children(recursive=True)
            if "batch.child" in " ".join(each.cmdline())
        ]
    return []


@pytest.mark.slow
def test_kills_at_random_instants_change_nothing(tmp_path: Path, setup: Setup) -> None:
    """Workers and whole runs are killed; the output is that of a run without kills, to the byte."""
    photos = write_photos(tmp_path / "photos", 300)
    for number in range(0, 300, 7):  # copies
        copy = photos / "label 0" / f"copy {number}.jpg"
        copy.write_bytes(photo(number))
    output = tmp_path / "codes.jsonl"
    variables = faulty_decoder(tmp_path / "faulty", delay_s=0.02)
    arguments = (photos, "--out", output, "--model", setup.model, "--workers", 2)
    chance = random.Random(2)
    kills = 0
    for attempt in range(ROUNDS + 1):
        process = start_hash(*arguments, **variables)
        more = chance.randrange(4)  # kills of workers before the kill of the run
        while process.poll() is None and (more or attempt == ROUNDS):
            time.sleep(chance.uniform(0, 0.5))
            if more and (children := _at_work(process.pid, variables)):
                with suppress(psutil.NoSuchProcess):
                    chance.choice(children).kill()
                    kills += 1
                    more -= 1
        if attempt < ROUNDS:
            time.sleep(chance.uniform(0, 2))
        children = _children(process.pid)
        if attempt < ROUNDS:
            process.kill()
        _, errors = process.communicate(timeout=300)
        _, alive = psutil.wait_procs(children, timeout=10 * patience())
        assert not alive, "a process survived the run"
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert output.read_bytes() == _plain(photos, tmp_path, setup.model)
    assert not failures_path(output).exists()
    assert not list(tmp_path.glob("*.tmp"))
    assert kills


def _at_work(pid: int, variables: dict[str, str]) -> list[psutil.Process]:
    """The processes that have begun to hash."""
    place = Path(variables["TEST_AT_WORK"])
    return [each for each in _children(pid) if (place / str(each.pid)).exists()]


def test_a_run_ends_its_processes_when_it_is_killed_during_a_hang(
    tmp_path: Path, setup: Setup
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "hang.jpg").write_bytes(photo(1, HANG))
    output = tmp_path / "codes.jsonl"
    variables = faulty_decoder(tmp_path / "faulty")
    process = start_hash(photos, "--out", output, "--model", setup.model, **variables)
    while not (children := _children(process.pid)) or not journal_path(output).exists():
        time.sleep(0.05)
    time.sleep(1)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=10 * patience())
    assert not alive


def test_failures_are_tried_again_by_the_next_run(
    tmp_path: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    crashing = photos / "label 1" / "crash.jpg"
    crashing.write_bytes(photo(51, CRASH))
    output = tmp_path / "codes.jsonl"
    with monkeypatch.context() as patch:
        for name, value in faulty_decoder(tmp_path / "faulty").items():
            patch.setenv(name, value)
        patch.setattr(pool_module, "MOST_DEATHS", 1)
        first = hash_photos((photos,), output, HashOptions(setup.model))
    assert (first.hashed, first.failed) == (3, 1)
    second = hash_photos((photos,), output, HashOptions(setup.model))
    assert (second.hashed, second.failed) == (1, 0)
    assert len(read_lines(output)) == 5
