"""Films of things that come and go before a wall, and what the inbox has of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.scenes import read_scene
from edge_runtime.image import Image
from tests.support.web import Client

FPS = 10
TABLES = "[decision]\nwindow = 3\n[unknowns]\nleast = "
AT_ONCE, TWICE = f"{TABLES}1\n", f"{TABLES}2\n"
LIMIT_S = 120.0
"""Until what comes again is in the inbox of a daemon that has little of the CPU."""


def before_wall(photo: str = "") -> Image:
    """Return a picture (uint8 480 x 640 x 3) of a brick wall with a photo before it."""
    wall = np.asarray(cv2.resize(read_scene("brick.png"), (640, 480)), np.uint8)
    if photo:
        wall[60:420, 80:560] = cv2.resize(read_scene(photo), (480, 360))
    return wall


def write_film(path: Path, photos: Sequence[str], seconds: float) -> Path:
    """Film each of `photos` for some seconds; "" is the wall alone."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (640, 480))
    noise = np.random.default_rng(1).integers(0, 6, (4, 480, 640, 3), dtype=np.uint8)
    for photo in photos:
        picture = before_wall(photo)
        for number in range(round(FPS * seconds)):
            writer.write(np.asarray(cv2.add(picture, noise[number % 4]), np.uint8))
    writer.release()
    return path


def groups(site: Client) -> list[dict[str, Any]]:
    """Return the groups of the inbox."""
    answer = site.ask("GET", "/api/unknowns")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["groups"]
    return found


def picture(site: Client, group: dict[str, Any]) -> Image:
    """Return the newest picture of a group."""
    answer = site.ask("GET", f"/api/unknowns/pictures/{group['pictures'][0]['id']}")
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/jpeg"
    shown = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(shown, np.uint8)


def showing(site: Client, photo: str) -> Callable[[], dict[str, Any] | None]:
    """Return what finds the group that shows this photo before the wall."""
    wanted = cv2.resize(before_wall(photo), (427, 320))

    known: dict[int, bool] = {}

    def find() -> dict[str, Any] | None:
        for group in groups(site):
            newest = group["pictures"][0]["id"]
            if newest not in known:
                known[newest] = bool(cv2.absdiff(picture(site, group), wanted).mean() < 12)
            if known[newest]:
                return group
        return None

    return find
