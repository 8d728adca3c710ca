"""The profiler: it measures the daemon's own pipeline, and flags invalid measurements."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sized
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import jsonschema_rs
import numpy as np
import pytest

from demo.scenes import write_enrollment_photos
from edge_runtime.camera.fake import FakeSource
from edge_runtime.code import Embedding
from edge_runtime.daemon.watcher import Observation
from edge_runtime.engine.base import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import ConfigError, ReportError
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.profiler.conditions import flags_of
from edge_runtime.profiler.driver import Driver
from edge_runtime.profiler.process_memory import memory
from edge_runtime.profiler.recorder import Recorder
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.report import read_report
from edge_runtime.report.budget import KNOWN, checked, read_budgets
from edge_runtime.report.schema import Conditions, Moment, Report
from edge_runtime.sinks import ListSink
from edge_runtime.system.device import clock_mhz, read_device
from edge_runtime.system.memory import peak_rss_bytes
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.types import Frame, QueryResult, Verdict
from tests.support.processes import ROOT, run_cli

SHORT = ("--samples", 40, "--seconds", 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiled") / "photos"
    write_enrollment_photos(folder)
    return folder


@pytest.fixture(scope="module")
def enrolled(photos: Path) -> Path:
    path = photos.parent / "gallery.sqlite"
    done = run_cli("enroll", "--gallery", path, photos)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def clip(photos: Path) -> Path:
    path = photos.parent / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (320, 240))
    image = cv2.imread(str(next(photos.rglob("*.jpg"))))
    assert image is not None
    for shift in range(12):
        writer.write(np.roll(cv2.resize(image, (320, 240)), 8 * shift, axis=1))
    writer.release()
    return path


@pytest.fixture(scope="module")
def report(enrolled: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A real report on the enrolled photos."""
    path = tmp_path_factory.mktemp("report") / "report.json"
    done = run_cli("profile", "--gallery", enrolled, *SHORT, "--out", path, "--json")
    report = read_report(path)
    assert done.returncode == (0 if report.met else 9), done.stderr
    assert done.stdout == path.read_text()
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema_rs.validator_for(schema).validate(json.loads(done.stdout))
    return report


def test_the_stages_are_the_daemons_and_sum_to_the_total(report: Report) -> None:
    assert report.warm is not None
    stages = report.warm.stages
    stage_names = ["decode", "wait", "fit", "hash", "pack", "lookup", "decide", "publish"]
    assert list(stages) == ["capture", *stage_names, "end_to_end", "query"]
    samples = report.warm.samples.stages_ms
    assert {len(column) for column in samples.values()} == {len(report.warm.samples.at_s)}
    assert len(samples["query"]) >= 40
    whole, parts = samples["end_to_end"], [samples[name] for name in stage_names]
    rows = zip(whole, *parts, strict=True)
    gaps = [(ms or 0.0) - sum(part or 0.0 for part in row) for ms, *row in rows]
    assert all(gap > -0.01 for gap in gaps)
    assert median(gaps) < 0.02 * stages["end_to_end"].p50_ms
    assert report.warm.samples.at_s == sorted(report.warm.samples.at_s)
    assert report.input.kind == "photos"
    assert report.protocol.pace == "one by one"
    assert report.protocol.quick


def test_cold_starts_and_memory_are_split_completely(report: Report) -> None:
    assert report.cold is not None
    assert report.memory is not None
    assert len(report.cold_starts) == 5
    for run in report.cold_starts:
        times = [getattr(run, name) for name in run.__struct_fields__ if name != "total_ms"]
        assert min(times) > 0
        assert sum(times) == pytest.approx(run.total_ms)
    parts = report.memory.parts
    assert (
        sum(getattr(parts, name) for name in parts.__struct_fields__) == report.memory.run.rss_bytes
    )
    assert parts.model_bytes > report.model.file_bytes  # the weights are in memory
    phases = [report.memory.start, report.memory.imports, report.memory.engine]
    assert [usage.rss_bytes for usage in phases] == sorted(usage.rss_bytes for usage in phases)
    for usage in phases:
        assert usage.rss_bytes >= usage.pss_bytes >= usage.uss_bytes >= usage.private_dirty_bytes
    assert report.memory.peak_rss_bytes >= 0.98 * report.memory.run.rss_bytes


def test_the_operators_of_the_network_are_listed(report: Report) -> None:
    (table,) = report.operators
    assert table.engine == "portable"
    assert table.call_count == 30
    assert sum(step.macs or 0 for step in table.operators) == pytest.approx(567.8e6, rel=0.01)
    assert sum(step.time_share for step in table.operators) == pytest.approx(1, abs=0.01)
    assert table.peak_macs_per_s is None or table.peak_macs_per_s > 1e8
    assert report.overhead is not None
    assert report.overhead.frame_us > 0
    assert report.overhead.p50_ratio is not None


def test_the_report_describes_machine_program_and_gallery(report: Report) -> None:
    assert report.device.machine
    assert report.device.packages["numpy"] == np.__version__
    assert report.program.arguments[1] == "profile"
    assert report.gallery.label_count > 1
    assert report.conditions is not None
    assert len(report.conditions.moments) >= 2
    assert report.conditions.moments[0].at_s < 0
    assert {line.name for line in report.budget} == {"query_p99_ms", "model_mb"}


@pytest.mark.slow
def test_a_paced_clip_with_budgets_from_a_file(clip: Path, tmp_path: Path) -> None:
    """One of the budgets is missed."""
    budgets = tmp_path / "tight.toml"
    budgets.write_text("[budgets]\nhash_p99_ms = 0.0001\nmodel_mb = 100\n")
    done = run_cli(
        *("profile", "--camera", clip, "--rate", 25, *SHORT, "--json"),
        *("--gallery", tmp_path / "none.sqlite", "--budgets", budgets),
    )
    assert done.returncode == 9, done.stderr
    report = json.loads(done.stdout)
    assert report["input"]["kind"] == "clip"
    assert (report["protocol"]["pace"], report["protocol"]["pace_per_s"]) == ("paced", 25)
    assert (
        10 < report["warm"]["frames_per_s"] < 50
    )  # not as fast as possible, but a stall is caught up
    by_name = {(line["name"], line["source"]): line["met"] for line in report["budget"]}
    assert by_name[("hash_p99_ms", "tight.toml")] is False
    assert by_name[("model_mb", "tight.toml")] is True
    assert report["met"] is False


class _StallingEngine(FakeEngine):
    """Fast, except for every twentieth image."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        self._count += 1
        time.sleep(0.12 if self._count % 20 == 0 else 0.001)
        return super().embed(image, timer)


def _end_to_end(engine: Engine, gallery: Path, per_s: float | None) -> list[float]:
    images = (np.full((48, 64, 3), 9, np.uint8) for _ in range(10_000))
    recorder = Recorder()
    with Gallery(gallery, engine.model, create=True) as database:
        driver = Driver(Pipeline(engine, database), FakeSource(images), ListSink(), per_s=per_s)
        driver.daemon.observers.append(recorder)
        for _ in range(60):
            driver.process_one()
        driver.close()
    samples = recorder.warm(dropped=0, faults=0).samples.stages_ms["end_to_end"]
    return [ms for ms in samples if ms is not None]


def test_a_paced_run_counts_images_that_had_to_wait(tmp_path: Path) -> None:
    """Three stalls of 120 ms affect 3 of 60 samples one by one.

    If paced, all images that are due during a stall are late, too.
    """
    one_by_one = _end_to_end(_StallingEngine(), tmp_path / "a.sqlite", None)
    paced = _end_to_end(_StallingEngine(), tmp_path / "b.sqlite", 100.0)
    assert sum(ms > 30 for ms in one_by_one) <= 10  # 3 on an idle machine
    assert sum(ms > 30 for ms in paced) >= 3 * 7


def test_a_partly_recorded_frame_is_discarded() -> None:
    """Ctrl-C may interrupt the recording of a frame."""

    class Interrupted(dict[str, float]):
        def get(self, *_: object) -> float:
            raise KeyboardInterrupt

    recorder, frame = Recorder(), Frame(Picture(np.zeros((2, 2, 3), np.uint8)), 0, 0.0)

    def seen(stage_ms: dict[str, float]) -> Observation:
        result = QueryResult(Verdict(None, 0.0, None), (), stage_ms)
        return Observation(Origin(), frame, frame.picture, result, None)

    stages = {"hash": 1.0, "end_to_end": 2.0}
    for _ in range(3):
        recorder(seen(dict(stages)))
    with pytest.raises(KeyboardInterrupt):
        recorder(seen(Interrupted(stages)))
    samples = recorder.warm(dropped=0, faults=0).samples
    columns: list[Sized] = [samples.at_s, samples.yardstick_ms, *samples.stages_ms.values()]
    assert [len(column) for column in columns] == [3] * len(columns)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130)])
def test_an_interrupted_run_writes_its_report(
    photos: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = tmp_path / "report.json"
    with _profiling(photos, path) as process:
        time.sleep(0.5)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert stderr.strip().splitlines()[-1] == "edge-runtime: interrupted"
    report = read_report(path)
    assert report.warm is not None
    assert (report.ended, report.met, report.cold) == ("early: interrupted", False, None)
    assert report.brands[0].name == "incomplete"


def test_a_killed_run_leaves_the_last_saved_report(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with _profiling(photos, path) as process:
        process.kill()
        process.communicate(timeout=60)
    report = read_report(path)
    assert report.warm is not None
    assert report.ended.startswith("never")
    assert "incomplete" in [flag.name for flag in report.brands]
    assert run_cli("report", "show", path).returncode == 9


class _profiling:  # noqa: N801
    """A long profile in its own process that has already saved a report."""

    def __init__(self, photos: Path, path: Path) -> None:
        self._path = path
        script = (
            "import edge_runtime.profiler.run as run\nrun.SAVE_INTERVAL_S = 0.2\n"
            "from edge_runtime.cli import main\n"
            f"main(['profile', '--seconds', '600', '--out', {str(path)!r}, {str(photos)!r}])\n"
        )
        self._command = [sys.executable, "-c", script]

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        deadline_s = time.monotonic() + 60
        while not self._path.exists():
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.slow
def test_a_run_beside_busy_programs_is_flagged(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    spin = "while True: pass"
    cores = len(os.sched_getaffinity(0))
    other_programs = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2 * cores)]
    try:
        done = run_cli(
            "profile", "--samples", 20, "--seconds", 1, "--cold-starts", 1, "--out", path, photos
        )
    finally:
        for program in other_programs:
            program.kill()
            program.wait()
    assert done.returncode == 9
    assert "NOT A VALID MEASUREMENT" in done.stdout
    report = read_report(path)
    assert "shared" in [flag.name for flag in report.brands]
    assert len(report.cold_starts) == 1
    assert report.protocol.quick
    assert not report.measurement


def _observed(**changes: Any) -> Conditions:
    figures: dict[str, Any] = {
        "moments": [_moment(-1), _moment(1), _moment(2), _moment(3)],
        "others_cores_ratio": 0.05,
        "stolen_share": 0.0,
        "waiting_share": 0.001,
        "swapped_bytes": 0,
    }
    return Conditions(**(figures | changes))


def _moment(at_s: float, mhz: float = 1800, throttling: list[str] | None = None) -> Moment:
    return Moment(
        at_s=at_s, temperature_c=50.0, clock_mhz=mhz, throttling=throttling, rss_bytes=10**8
    )


def test_each_disturbance_has_its_flag() -> None:
    def names(observed: Conditions, *, emulated: bool = False, full_load: bool = True) -> list[str]:
        return [flag.name for flag in flags_of(observed, emulated=emulated, full_load=full_load)]

    assert names(_observed()) == []
    assert names(_observed(), emulated=True) == ["emulated"]
    assert names(_observed(others_cores_ratio=0.9)) == ["shared"]
    assert names(_observed(waiting_share=0.2)) == ["shared"]
    assert names(_observed(stolen_share=0.2)) == ["shared"]
    assert names(_observed(swapped_bytes=1 << 24)) == ["swapped"]
    slower = [_moment(-1, 600), _moment(1), _moment(2, 1200), _moment(3, 600)]
    assert names(_observed(moments=slower)) == ["throttled"]
    assert (
        names(_observed(moments=slower), full_load=False) == []
    )  # an idle clock is not throttling
    before = "throttling has occurred"
    hot = [_moment(-1, throttling=[before]), _moment(1, throttling=[before, "throttled"])]
    assert names(_observed(moments=[*hot, _moment(2, throttling=[before])])) == ["throttled"]
    earlier = [_moment(-1, throttling=[before]), _moment(1, throttling=[before])]
    assert names(_observed(moments=earlier)) == []  # before this run
    nothing = dict.fromkeys(
        ("others_cores_ratio", "stolen_share", "waiting_share", "swapped_bytes")
    )
    assert names(_observed(**nothing)) == []


def test_this_machine_is_not_emulated() -> None:
    assert not read_device().emulated


def test_a_kernel_that_does_not_report_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("scaling_max_freq")

    monkeypatch.setattr("psutil.cpu_freq", fail)
    assert clock_mhz() == (None, None)
    monkeypatch.setattr("psutil.cpu_freq", lambda: None)
    assert clock_mhz() == (None, None)


def test_memory_of_a_process_by_kind() -> None:
    result = memory()
    assert sum(result["kinds"].values()) == result["usage"]["rss_bytes"]
    assert result["kinds"]["library"] > 0
    with pytest.raises(OSError, match="No such file"):
        memory(2**22 + 1)


def test_the_peak_excludes_the_parent_process() -> None:
    """getrusage starts a child with the peak of the parent that forked it."""
    ballast = np.ones(40_000_000)
    script = "from edge_runtime.system.memory import peak_rss_bytes as peak; print(peak())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < ballast.nbytes < peak_rss_bytes()


def test_budgets_are_checked_by_name(tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    for text, message in (
        ("[budgets]\nquery_p9_ms = 1\n", "unknown budget .query_p9_ms. .did you mean query_p9"),
        ("[budgets]\nquery_p99_ms = 'soon'\n", "must be a number above 0, got 'soon'"),
        ("[budgets]\nquery_p99_ms = -1\n", "above 0"),
        ("[budgets]\nquery_p99_ms = inf\n", "above 0"),
        ("[budget]\nquery_p99_ms = 1\n", "table .budgets. is missing"),
        ("[budgets\n", "not valid TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_budgets(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_budgets(tmp_path / "none.toml")
    assert checked(dict.fromkeys(KNOWN, 1), "here") == dict.fromkeys(KNOWN, 1.0)
    done = run_cli("profile", "--budgets", path, "photo.jpg")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1


def test_every_device_has_known_budgets() -> None:
    for path in sorted((ROOT / "profiles" / "devices").glob("*.toml")):
        budgets = read_budgets(path)
        assert budgets["query_p99_ms"] <= 1000, "the papers' limit"
        assert {"end_to_end_p99_ms", "hash_p99_ms", "cold_start_ms", "model_mb"} <= set(budgets)


def test_invalid_input_is_reported_in_one_line(tmp_path: Path, photos: Path) -> None:
    none = tmp_path / "none.sqlite"
    for arguments, code, message in (
        ((), 8, "no photos to measure with"),
        ((tmp_path / "gone.jpg",), 3, "no such photo"),
        (("--camera", tmp_path / "gone.mp4"), 7, "no such camera"),
        (("--camera", "0", photos), 3, "cannot be combined with photos"),
        (("--camera", "0", "--rate", 5), 3, "--rate: a camera sets its own rate"),
    ):
        done = run_cli("profile", "--quick", "--gallery", none, *arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_unreadable_photos_end_the_run_with_a_flagged_report(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8nothing")
    path = tmp_path / "report.json"
    done = run_cli("profile", *SHORT, "--out", path, tmp_path / "broken.jpg")
    assert done.returncode == 7, done.stderr
    assert "it contains no readable picture" in done.stderr
    report = read_report(path)
    assert report.warm is None
    assert not report.met


def test_without_proc_the_command_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.cli import profile

    monkeypatch.setattr(profile, "PROC", Path("/nowhere"))
    with pytest.raises(ReportError, match="this system has no /proc"):
        profile._needs_proc()
