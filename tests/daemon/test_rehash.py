"""A running daemon while its gallery is moved to another model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import read_scene
from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.maintenance import verify
from tests.support.processes import ROOT, run_cli
from tests.support.service import CONFIG, Process

PICTURES = 200
"""Enough that the move has not ended before it is stopped."""
SPECIALIST = ROOT / "models" / "mobilenet_v1_hash64.onnx"


@pytest.mark.slow
def test_a_daemon_answers_during_a_rehash_and_with_the_new_model(
    tmp_path: Path, engine: Engine
) -> None:
    path, film, frame = tmp_path / "g.sqlite", tmp_path / "cat.mp4", tmp_path / "cat.png"
    cat = np.asarray(cv2.resize(read_scene("chelsea.png"), (640, 480)), np.uint8)
    cv2.imwrite(str(frame), cat)
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for _ in range(20):
        writer.write(cat)
    writer.release()
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(PICTURES)]
    photos = [("cat", cat), *((f"noise {number % 5}", one) for number, one in enumerate(noise))]
    with Gallery(path, engine.model, create=True) as gallery:
        enroll_photos(engine, gallery, photos, EnrollOptions(views=False, keep_pictures=True))
    config = tmp_path / "edge.toml"
    config.write_text(CONFIG.format(film=film))
    running = Process("--config", config)
    running.until_event("enter", "cat")
    query = ("query", "--json", "--gallery", path, frame)
    rehash = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "gallery", "rehash",
         "--gallery", str(path), "--model", str(SPECIALIST)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        running.until(path.with_name("g.sqlite.rehash").exists)
        rehash.send_signal(signal.SIGSTOP)
        assert json.loads(run_cli(*query).stdout)["label"] == "cat"
        with Gallery(path, engine.model) as gallery:
            gallery.relabel("cat", "tiger")
        running.until_event("enter", "tiger")  # it reads what others change meanwhile
        assert not any("was moved" in line for line in running.log_lines)
        rehash.send_signal(signal.SIGCONT)
        assert rehash.communicate(timeout=120)[0].startswith("moved ")
    finally:
        rehash.kill()
    running.until_logged("it was moved to model")
    assert running.child.poll() is None  # it reports the fault, and does not end
    running.end()
    assert verify(path) == []
    assert run_cli(*query).returncode == 5
    assert json.loads(run_cli(*query, "--model", SPECIALIST).stdout)["label"] == "tiger"
    restarted = Process("--config", config, "--model", SPECIALIST)
    restarted.until_event("enter", "tiger")
    restarted.end()
