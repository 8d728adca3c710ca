"""`edge-runtime hash --cluster` with a real Dask scheduler and workers, which are killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.batch.output import failures_path
from edge_runtime.batch.run import HashOptions, hash_photos
from edge_runtime.errors import ServiceError
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
from tests.support.batch.dask import DaskCluster
from tests.support.processes import ROOT, patience, run_cli
from tests.support.tiny_onnx import TinyModel, weights

pytest.importorskip("distributed", reason="the extra batch is not installed")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path / "dask") as started:
        started.start_scheduler()
        yield started


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


def _plain(photos: Path, folder: Path, model: Path) -> bytes:
    """The output of one process that nothing happens to."""
    hash_photos((photos,), folder / "plain.jsonl", HashOptions(str(model)))
    return (folder / "plain.jsonl").read_bytes()


def test_the_cluster_writes_what_one_process_writes(
    cluster: DaskCluster, tmp_path: Path, model: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 150)
    (photos / "label 1" / "copy.jpg").write_bytes(photo(0))
    (photos / "damaged.jpg").write_bytes(photo(1)[:300])
    cluster.start_worker()
    cluster.start_worker()
    plain = _plain(photos, tmp_path, model)
    for name, options in (("shared.jsonl", ()), ("sent.jsonl", ("--send",))):
        output = tmp_path / name
        arguments = ("hash", photos, "--out", output, "--model", model)
        done = run_cli(*arguments, "--cluster", cluster.address, *options)
        assert done.returncode == 3, done.stderr
        assert done.stdout.endswith(
            "150 codes of 152 photos (151 hashed now, 1 duplicate, 1 failed)\n"
        )
        assert done.stderr.count("\n") == 1
        assert output.read_bytes() == plain
        assert [each["what"] for each in read_lines(failures_path(output))] == ["truncated JPEG"]
        assert done.stderr == (
            f"edge-runtime: {photos}/damaged.jpg: truncated JPEG (copy the file again)\n"
        )


@pytest.mark.slow
def test_photos_that_hang_or_crash_fail_alone(
    cluster: DaskCluster, tmp_path: Path, model: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 70)
    (photos / "hang.jpg").write_bytes(photo(80, HANG))
    (photos / "crash.jpg").write_bytes(photo(81, CRASH))
    worker = cluster.start_worker(**faulty_decoder(tmp_path / "faulty"))
    output = tmp_path / "codes.jsonl"
    arguments = ("hash", photos, "--out", output, "--model", model, "--cluster", cluster.address)
    done = run_cli(*arguments, "--send", "--photo-limit", 2 * patience())
    assert done.returncode == 3, done.stderr
    assert [Path(each["photo"]).name for each in read_lines(failures_path(output))] == [
        "crash.jpg",
        "hang.jpg",
    ]
    assert len(read_lines(output)) == 71
    assert worker.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("send", [False, True])
def test_kills_of_workers_scheduler_and_run_change_nothing(
    cluster: DaskCluster, tmp_path: Path, model: Path, send: bool
) -> None:
    photos = write_photos(tmp_path / "photos", 600)
    slow = faulty_decoder(tmp_path / "faulty", delay_s=0.03)
    output = tmp_path / "codes.jsonl"
    arguments = [photos, "--out", output, "--model", model, "--cluster", cluster.address]
    arguments += ["--wait", 60 * patience(), *(["--send"] if send else [])]
    workers = [cluster.start_worker(**slow) for _ in range(2)]
    chance = random.Random(send)
    process = start_hash(*arguments)
    for victim in ("worker", "scheduler", "worker", "run", "worker", "scheduler", "run"):
        time.sleep(chance.uniform(1.5, 4) * patience())
        if process.poll() is not None:
            break
        if victim == "run":
            process.kill()
            process.communicate()
            process = start_hash(*arguments)
        elif victim == "worker":
            killed = workers.pop(0)
            killed.kill()
            killed.wait()
            workers.append(cluster.start_worker(**slow))
        elif cluster.scheduler is not None:
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            cluster.start_scheduler()
            for worker in workers:  # those of the old scheduler end by themselves, or soon
                worker.kill()
                worker.wait()
            workers = [cluster.start_worker(**slow) for _ in range(2)]
    _, errors = process.communicate(timeout=300 * patience())
    assert process.returncode == 0, errors
    assert output.read_bytes() == _plain(photos, tmp_path, model)


@pytest.mark.slow
def test_the_photos_of_a_frozen_worker_are_given_to_another(
    cluster: DaskCluster, tmp_path: Path, model: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 300)
    slow = faulty_decoder(tmp_path / "faulty", delay_s=0.02)
    frozen = cluster.start_worker(**slow)
    output = tmp_path / "codes.jsonl"
    arguments = (photos, "--out", output, "--model", model, "--cluster", cluster.address)
    process = start_hash(*arguments, "--photo-limit", "1")
    time.sleep(5 * patience())
    cluster.start_worker(**slow)
    frozen.send_signal(signal.SIGSTOP)
    _, errors = process.communicate(timeout=180 * patience())
    assert process.returncode == 0, errors
    assert len(read_lines(output)) == 301


@pytest.mark.slow
def test_a_cluster_that_is_not_there(tmp_path: Path, model: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    arguments = ("hash", photos, "--out", tmp_path / "codes.jsonl", "--model", model)

    def fails(address: str, text: str) -> None:
        done = run_cli(*arguments, "--cluster", address, "--wait", 1)
        assert done.returncode == ServiceError.exit_code, done.stderr
        assert done.stderr.startswith(f"edge-runtime: {address}: {text}"), done.stderr
        assert done.stderr.count("\n") == 1

    fails("tcp://127.0.0.1:1", "the scheduler does not answer")
    fails("nonsense", "not an address of a scheduler")
    fails("smtp://host:1", "not an address of a scheduler")
    with DaskCluster(tmp_path / "dask") as cluster:
        cluster.start_scheduler()
        fails(cluster.address, "the scheduler has no workers")


@pytest.mark.slow
def test_unsuitable_workers_are_refused(tmp_path: Path, model: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    other = TinyModel(weights(1)).write(tmp_path / "other" / "model.onnx")
    arguments = ("hash", photos, "--out", tmp_path / "codes.jsonl")

    def fails(text: str, **variables: str) -> None:
        with DaskCluster(tmp_path / "dask") as cluster:
            cluster.start_scheduler()
            cluster.start_worker(**variables)
            options = ("--cluster", cluster.address, "--wait", 30 * patience())
            done = run_cli(*arguments, *options, EDGE_RUNTIME_MODEL=str(model))
        assert done.returncode == ServiceError.exit_code, done.stderr
        assert text in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr

    def starting(program: str) -> dict[str, str]:
        place = tmp_path / "start"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(program)
        return {"PYTHONPATH": f"{place}:{ROOT}", "EDGE_RUNTIME_MODEL": str(model)}

    fails("this worker cannot start", EDGE_RUNTIME_MODEL=str(other))
    fails("this worker cannot start", EDGE_RUNTIME_MODEL=str(tmp_path / "no.onnx"))
    fails(
        "this worker has edge-runtime 0.0.1",
        **starting("import edge_runtime; edge_runtime.__version__ = '0.0.1'"),
    )
    fails(
        "edge-runtime cannot be used on this worker",
        **starting("import sys; sys.modules['edge_runtime.batch'] = None"),
    )


def test_workers_that_do_not_see_the_photos_are_refused(
    cluster: DaskCluster, tmp_path: Path, model: Path
) -> None:
    from edge_runtime.batch.scheduler import Scheduler
    from edge_runtime.batch.work import Setup, method_of
    from edge_runtime.engine import open_engine

    cluster.start_worker()
    setup = Setup(str(model), method_of(open_engine(model), features=False, views=False))
    with pytest.raises(ServiceError, match=r"does not see /nowhere \(mount it there"):
        Scheduler(cluster.address, 60 * patience(), setup, ("/nowhere",), 60)


def test_without_the_extra(tmp_path: Path, model: Path) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    (tmp_path / "start").mkdir()
    blocked = "import sys; sys.modules['distributed'] = None"
    (tmp_path / "start" / "sitecustomize.py").write_text(blocked)
    arguments = ("hash", photos, "--out", tmp_path / "codes.jsonl", "--model", model)
    path = f"{tmp_path / 'start'}:{ROOT}"
    done = run_cli(*arguments, "--cluster", "tcp://127.0.0.1:1", PYTHONPATH=path)
    assert done.returncode == ServiceError.exit_code
    assert done.stderr.endswith("(pip install edge-runtime[batch])\n"), done.stderr
    assert run_cli(*arguments, PYTHONPATH=path).returncode == 0
