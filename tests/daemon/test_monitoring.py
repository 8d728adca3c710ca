"""The dashboard, the alert rules and the timer fit what the daemon really exports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_runtime.image import Image
from edge_runtime.web import metrics
from tests.support.events import make_event
from tests.support.processes import ROOT
from tests.support.web import Client, start

MONITORING = ROOT / "deploy" / "monitoring"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt install prometheus")
NAME = re.compile(r"\bedge_\w+")
OF_SENSORS = {"edge_temperature_celsius", "edge_throttled"}
"""Exported only where the machine has the sensor."""


def _dashboard() -> dict[str, Any]:
    return dict(json.loads((MONITORING / "grafana.json").read_text()))


def _expressions() -> list[str]:
    return [target["expr"] for panel in _dashboard()["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> set[str]:
    """The names of a real daemon's series."""
    folder = tmp_path_factory.mktemp("site")
    film = folder / "cat.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for _ in range(20):
        writer.write(cv2.resize(cat, (640, 480)))
    writer.release()
    process = start(folder, film)
    try:
        client = Client(process)
        client.until_ready()
        client.ask("POST", "/api/labels/cat/frame")
        process.until_event("enter", "cat")
        names: set[str] = set()

        def counted() -> bool:
            text = client.ask("GET", "/metrics").body.decode()
            names.update(line.partition("{")[0].split()[0] for line in text.splitlines() if line)
            return 'edge_label_events_total{camera="camera",label="cat",region=""} 1.0' in text

        process.until(counted)
        return names | OF_SENSORS
    finally:
        process.end()


def test_every_name_is_exported(exported: set[str]) -> None:
    used = set(NAME.findall(" ".join(_expressions())))
    used |= set(NAME.findall((MONITORING / "alerts.yml").read_text()))
    assert len(used) > 15
    assert used <= exported


def test_the_names_of_sensors_are_right() -> None:
    source = Path(str(metrics.__file__)).read_text()
    assert '"temperature_celsius"' in source
    assert '"edge_throttled"' in source


def test_labels_are_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics._Reader, "collect", lambda _self: [])
    counted = metrics.Metrics(None)  # type: ignore[arg-type]
    for number in range(metrics.MOST_LABELS + 50):
        for kind in ("enter", "leave"):
            counted.listen(replace(make_event(0, kind, f"label {number}"), camera="door"))
    counted.listen(replace(make_event(label="label 0"), camera="desk", region="left"))
    text = counted.text().decode()
    lines = [line for line in text.splitlines() if line.startswith("edge_label_events_total")]
    assert len(lines) == metrics.MOST_LABELS + 2
    assert 'edge_label_events_total{camera="door",label="other",region=""} 50.0' in lines
    assert 'edge_label_events_total{camera="desk",label="label 0",region="left"} 1.0' in lines


def test_the_panels_of_the_dashboard_fit() -> None:
    panels = _dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    boxes = [panel["gridPos"] for panel in panels]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    for a, b in combinations(boxes, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (a, b)
    variables = {each["name"] for each in _dashboard()["templating"]["list"]} | {"__range"}
    named = re.findall(r"\$\{?(\w+)", json.dumps(_dashboard()).replace("$__all", ""))
    assert set(named) <= variables


@needs_promtool
def test_promtool_accepts_rules_and_expressions(tmp_path: Path) -> None:
    assert PROMTOOL
    for command in ("check", "test"):
        file = "alerts.yml" if command == "check" else "alerts_test.yml"
        done = subprocess.run(
            [PROMTOOL, command, "rules", file], cwd=MONITORING, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__range", "1h")}
        for number, text in enumerate(_expressions())
    ]
    path = tmp_path / "rules.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([PROMTOOL, "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_accepts_the_timer_of_the_report(tmp_path: Path) -> None:
    for kind in ("service", "timer"):
        shutil.copy(ROOT / "deploy" / "units" / f"edge-runtime-report.{kind}", tmp_path)
    units = [tmp_path / f"edge-runtime-report.{kind}" for kind in ("service", "timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    faults = [line for line in done.stderr.splitlines() if "edge-runtime-report" in line]
    assert faults == []


def test_the_report_is_made(tmp_path: Path) -> None:
    """Run the script of the unit with the paths of a scratch folder."""
    unit = (ROOT / "deploy" / "units" / "edge-runtime-report.service").read_text()
    found = re.search(r"^ExecStart=/bin/sh -c '(.*?)'$", unit, re.MULTILINE | re.DOTALL)
    assert found
    script = found[1].replace("%%", "%").replace("\\\n", "").replace(
        "/var/lib/edge-runtime", str(tmp_path)
    )  # fmt: skip
    program = tmp_path / "edge-runtime"
    program.write_text(
        '#!/bin/sh\necho "{\\"command\\": \\"$*\\"}"\ntest "$1" != doctor || exit 9\n'
    )
    program.chmod(0o755)
    old = tmp_path / "reports" / "2020-01-01"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["/bin/sh", "-c", script], env=environment, check=True)
    (day,) = (tmp_path / "reports").iterdir()
    assert {path.name: json.loads(path.read_text())["command"] for path in day.iterdir()} == {
        "doctor.json": "doctor --json",
        "gallery.json": "gallery stats --json",
        "advice.json": "gallery advise --json",
    }
