"""The heading of a query, from the command to the answer."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from demo.scenes import read_scene
from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.gallery import Gallery
from edge_runtime.position import Position, QueryPosition
from edge_runtime.recognition.pipeline import Pipeline
from tests.support.media.clips import write_clip
from tests.support.processes import run_cli

NORTH, EAST = (Position(52, 4.36, heading) for heading in (0, 90))


@pytest.fixture
def two_doors(tmp_path: Path, engine: Engine) -> Path:
    """One picture under two labels: the doors of a corridor, filmed in two directions."""
    path = tmp_path / "doors.sqlite"
    image = read_scene("coffee.png")
    with Gallery(path, engine.model, create=True) as gallery:
        for label, position in (("north door", NORTH), ("east door", EAST)):
            options = EnrollOptions(views=False, position=position)
            enroll_photos(engine, gallery, [(label, image)], options)
    return path


def test_the_heading_tells_two_directions_apart(two_doors: Path, engine: Engine) -> None:
    image = read_scene("coffee.png")
    with Gallery(two_doors, read_only=True) as gallery:
        pipeline = Pipeline(engine, gallery)
        for heading, label in ((350, "north door"), (80, "east door"), (100, "east door")):
            near = QueryPosition(Position(52, 4.36, heading), None, 25, 20)
            assert pipeline.query(image, near).label == label
        near = QueryPosition(Position(52, 4.36, 80), None, 25, 20)
        north, east = sorted(pipeline.query(image, near).matches, key=lambda match: -match.penalty)
        assert north.penalty == pytest.approx(4)
        assert east.penalty == pytest.approx(0.5)


def test_the_command_weighs_the_heading(two_doors: Path, tmp_path: Path) -> None:
    photo, clip = tmp_path / "door.png", tmp_path / "door.mp4"
    cv2.imwrite(str(photo), read_scene("coffee.png"))
    write_clip(clip, "coffee.png", frames=10)

    def labels(*options: str, of: Path = photo) -> list[tuple[str, float]]:
        done = run_cli("query", "--gallery", two_doors, "--json", *options, of)
        assert done.returncode == 0, done.stderr
        matches = json.loads(done.stdout)["matches"]
        return [(match["label"], match["penalty"]) for match in matches]

    assert labels("--position", "52,4.36,90")[0] == ("east door", 0)
    assert labels("--position", "52,4.36,0")[0] == ("north door", 0)
    assert labels("--position", "52,4.36,90", of=clip)[0] == ("east door", 0)
    assert {penalty for _, penalty in labels("--position", "52,4.36")} == {0}
    strict = labels("--position", "52,4.36,90", "--degrees-per-bit", "5")
    assert strict[1][0] == "north door"
    assert strict[1][1] == pytest.approx(18)
