"""The web server over real HTTP: what it answers and streams."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.gallery.features.fitted import read_outcome
from edge_runtime.image import Image
from tests.support.processes import run_cli
from tests.support.web import HTML, Client, encoded


def test_health_checks_report_the_state(site: Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = site.ask("GET", path)
        assert answer.status == 200
        body = answer.json()
        assert body["status"] == "ok"
        assert body["cameras"] == {"camera": "running"}
        assert 0 <= body["frame_age_s"] < 5
        assert body["engine"]["name"] == "portable"
        assert body["engine"]["reason"]
        assert re.fullmatch("[0-9a-f]{64}", body["model_id"])
        assert body["last_error"] is None


def test_enroll_recognize_and_remove(site: Client, folder: Path, cat: Image) -> None:
    photo = encoded(cat)
    before = site.ask("GET", "/healthz").json()["gallery_generation"]
    answer = site.ask("POST", "/api/labels/cat", photo, Content_Type="image/jpeg")
    counts = {"pictures_added": 1, "codes_added": 6, "pictures_known": 0}
    counts["pictures_completed"] = 0
    enrolled = answer.json()
    assert len(enrolled.pop("pictures")) == 1
    assert (answer.status, enrolled) == (201, {"label": "cat", **counts, "fault": None})
    answer = site.ask("POST", "/api/labels/cat", photo, Content_Type="image/jpeg")
    counts |= {"pictures_added": 0, "codes_added": 0, "pictures_known": 1}
    answered: dict[str, Any] = {"label": "cat", **counts, "pictures": [], "fault": None}
    assert (answer.status, answer.json()) == (200, answered)
    stats = run_cli("gallery", "stats", "--json", "--gallery", folder / "g.sqlite")
    stored = json.loads(stats.stdout)
    assert stored["features"] == stored["codes"]  # the daemon's engine gives both
    found = site.ask("POST", "/api/query", photo, Content_Type="image/jpeg").json()
    assert (found["label"], found["distance"]) == ("cat", 0)
    assert found["matches"][0]["source"] == "upload"
    assert {"fit", "hash", "lookup"} <= set(found["stage_ms"])
    site.process.until_event("enter", "cat")
    site.process.until(lambda: site.region()["recognition"])
    site.process.until(lambda: site.ask("GET", "/healthz").json()["gallery_generation"] > before)
    events = site.ask("GET", "/api/events?limit=1").json()["events"]
    assert events[0]["label"] == "cat"
    assert {"label": "cat", "pictures": 1, "codes": 6} in site.ask("GET", "/api/labels").json()[
        "labels"
    ]
    removed = site.ask("DELETE", "/api/labels/cat").json()
    assert removed == {"label": "cat", "pictures_removed": 1, "codes_removed": 6}
    site.process.until_event("leave", "cat")
    assert site.ask("DELETE", "/api/labels/cat").status == 404


def test_the_gallery_is_fitted_after_enrollment(
    site: Client, folder: Path, noise: Callable[[int], Image]
) -> None:
    labels = [f"noise {number}" for number in range(5)]
    for number, label in enumerate(labels):
        for photo in range(2):
            data = encoded(noise(2 * number + photo))
            path = f"/api/labels/{urllib.parse.quote(label)}"
            assert site.ask("POST", path, data, Content_Type="image/jpeg").status == 201

    def outcome() -> dict[str, Any] | None:
        with closing(sqlite3.connect(folder / "g.sqlite")) as connection:
            return read_outcome(connection)

    site.process.until(outcome)
    fitted = outcome()
    assert fitted is not None
    assert fitted["labels"] >= 5
    assert fitted["left_out"] >= 5
    for label in labels:
        assert site.ask("DELETE", f"/api/labels/{urllib.parse.quote(label)}").status == 200


def test_enroll_the_current_frame(site: Client) -> None:
    label = urllib.parse.quote("my desk 厨房")
    answer = site.ask("POST", f"/api/labels/{label}/frame")
    assert answer.status == 201, answer.body
    site.process.until_event("enter", "my desk 厨房")
    assert site.ask("DELETE", f"/api/labels/{label}").status == 200


def test_a_kept_picture_is_shown(site: Client, cat: Image) -> None:
    photo = encoded(cat)
    site.ask("POST", "/api/labels/kept", photo, Content_Type="image/jpeg")
    found = site.ask("POST", "/api/query", photo, Content_Type="image/jpeg").json()
    number = found["matches"][0]["id"]
    answer = site.ask("GET", f"/api/pictures/{number}")
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/jpeg"
    kept = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert kept is not None and kept.shape[:2] == (320, 320)
    site.ask("DELETE", "/api/labels/kept")
    for gone in (number, 0, "9" * 18, "9" * 5000, "-1", "x", "%ED%A0%80"):
        assert site.ask("GET", f"/api/pictures/{gone}").status == 404


def test_a_label_has_a_thumbnail(site: Client, cat: Image) -> None:
    assert site.ask("POST", "/api/labels/tom/frame").status == 201
    answer = site.ask("GET", "/api/labels/tom/photo")
    assert answer.headers["Content-Type"] == "image/jpeg"
    thumbnail = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert thumbnail is not None
    assert max(thumbnail.shape[:2]) <= 160
    site.ask("DELETE", "/api/labels/tom")
    assert site.ask("GET", "/api/labels/tom/photo").status == 404


def test_a_label_that_is_html_stays_text(site: Client, cat: Image) -> None:
    label = urllib.parse.quote(HTML, safe="")
    answer = site.ask("POST", f"/api/labels/{label}", encoded(cat), Content_Type="image/jpeg")
    # The label is stored as text, and no answer is HTML.
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert site.ask("GET", "/api/labels").json()["labels"][0]["label"] == HTML
    assert site.ask("DELETE", f"/api/labels/{label}").status == 200


def test_metrics_are_prometheus_text(site: Client) -> None:
    text = site.ask("GET", "/metrics").body.decode()
    samples = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert float(samples['edge_camera_state{camera="camera",state="running"}']) == 1
    assert float(samples["edge_frames_total"]) > 0
    assert float(samples['edge_stage_seconds_count{stage="fit"}']) > 0
    assert float(samples['edge_stage_seconds_count{stage="end_to_end"}']) > 0
    assert float(samples["edge_resident_memory_bytes"]) > 1e7
    assert 'edge_sink_events_total{fate="delivered",sink="json"}' in samples
    for name in ("frames_dropped", "camera_restarts"):
        assert f'edge_{name}_total{{camera="camera"}}' in samples
    assert 'edge_frames_unchanged_total{camera="camera",region=""}' in samples


def _read_some(site: Client, path: str, until: bytes) -> bytes:
    with urllib.request.urlopen(site.url + path, timeout=20) as answer:
        data = b""
        while until not in data:
            data += answer.read1(65536)
        return data


def test_streams_of_events_and_frames(site: Client) -> None:
    data = _read_some(site, "/api/stream", b"event: status")
    data += _read_some(site, "/api/stream", b"\n\n")
    status = json.loads(data.split(b"data: ", 1)[1].split(b"\n", 1)[0])
    assert status["cameras"][0]["state"] == "running"
    assert status["budget_ms"] == 100
    picture = _read_some(site, "/live.mjpg", b"\xff\xd9\r\n")
    assert b"Content-Type: image/jpeg" in picture


def test_a_recognition_is_streamed_as_it_happens(site: Client) -> None:
    with urllib.request.urlopen(site.url + "/api/stream", timeout=20) as stream:
        data = stream.read1(65536)
        assert site.ask("POST", "/api/labels/streamed/frame").status == 201
        while b"event: recognition" not in data:
            data += stream.read1(65536)
    site.ask("DELETE", "/api/labels/streamed")


def test_the_number_of_streams_is_limited(site: Client) -> None:
    streams = []
    try:
        for _ in range(8):
            streams.append(urllib.request.urlopen(site.url + "/api/stream", timeout=20))
        assert site.ask("GET", "/api/stream").status == 503
        assert site.ask("GET", "/healthz").status == 200
    finally:
        for stream in streams:
            stream.close()
    site.process.until(lambda: _opens(site))


def _opens(site: Client) -> bool:
    try:
        with urllib.request.urlopen(site.url + "/api/stream", timeout=20):
            return True
    except urllib.error.HTTPError:
        return False
