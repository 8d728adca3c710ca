"""Control characters from outside reach neither a terminal nor a log."""

from __future__ import annotations

import io
import json
import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.sinks import JsonSink, TextSink
from edge_runtime.system.logs import start_logging
from edge_runtime.system.printable import printable, printable_json
from edge_runtime.types import Event
from tests.support.processes import ROOT, run_cli

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egpj"
NAMES = ["\x1b[2Jscreen", "\x9b2J", "\x07bell", "\u202etxt", "line\nfeed", "return\rback"]


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in shown)
    shown.encode()  # no surrogates either
    if text.isprintable():
        assert shown == text


@given(st.text())
def test_json_stays_the_same_value(text: str) -> None:
    shown = printable_json(json.dumps([text], indent=1, ensure_ascii=False))
    assert json.loads(shown) == [text]
    assert not any(127 <= ord(each) < 160 for each in shown)


def test_logs_and_events_have_no_control_characters() -> None:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    stream = io.StringIO()
    try:
        start_logging(stream, "info")
        logging.getLogger("edge_runtime.test").warning("from outside: %s", HOSTILE)
    finally:
        root.handlers = before
    event = Event("enter", HOSTILE, 1.0, 0, 1, "2026-11-29T10:00:00+00:00", "", 1.0)
    for kind in (TextSink, JsonSink):
        kind(stream).publish(event)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines), lines
    assert json.loads(lines[2])["label"] == HOSTILE


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    good = next((ROOT / "demo").rglob("*.jpg"), ROOT / "docs" / "demo.jpg")
    (folder / "desk").mkdir()
    for number, name in enumerate(NAMES):
        shutil.copy(good, folder / "desk" / f"{name}.jpg")
        (folder / "desk" / f"{name}{number}.png").write_text("not an image")
    return folder


def test_commands_print_names_of_files_without_control_characters(photos: Path) -> None:
    gallery = photos / "g.sqlite"
    good = photos / "desk" / f"{NAMES[0]}.jpg"
    outputs = [
        run_cli("enroll", "--gallery", gallery, photos),
        run_cli("query", "--gallery", gallery, *(photos / "desk").iterdir()),
        run_cli("query", "--gallery", photos / NAMES[0], good),
        run_cli("run", "--gallery", gallery, "--camera", f"/dev/{NAMES[0]}"),
        run_cli("enroll", "--gallery", gallery, "--label", NAMES[0], good),
        run_cli(f"--{NAMES[0]}"),
    ]
    for done in outputs:
        for line in (done.stdout + done.stderr).split("\n"):
            assert line.isprintable(), line
    assert "\\x1b[2Jscreen" in outputs[1].stdout
