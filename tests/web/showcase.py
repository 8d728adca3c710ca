"""A daemon with something to see in every view of the page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from demo.scenes import read_scene
from tests.support.web import Client, encoded, start_cameras
from tests.unknowns.things import before_wall, write_film

SHOWN = """(() => {
    const view = document.querySelector("#view-NAME");
    const inSight = (each) => {
        const box = each.getBoundingClientRect();
        return box.width && box.bottom > 0 && box.top < innerHeight;
    };
    return document.querySelector("#state").textContent && view && !view.hidden &&
        view.getClientRects().length > 0 &&
        [...document.images].filter(inSight).every((each) => each.naturalWidth > 0);
})()"""
"""JavaScript: whether the view NAME and all pictures in sight are shown."""
VIEWS = ("live", "inbox", "gallery", "history", "settings", "status", "phone")
ENROLLED = {"cat": "chelsea.png", "coffee cup": "coffee.png", "rocket": "rocket.jpg"}
TABLES = """\
[board]
name = "hall"
[unknowns]
least = 1
[history]
snapshots = true
[regions.shelf]
camera = "desk"
area = [0.08, 0.08, 0.84, 0.84]
"""


def open_showcase(folder: Path) -> Client:
    """Start a daemon with two cameras, a region, a gallery, an inbox and a history.

    Returns when each of them has something to show.
    """
    films = {
        "desk": write_film(folder / "desk.mp4", ["chelsea.png", "", "coffee.png", ""], 3.0),
        "door": write_film(folder / "door.mp4", ["rocket.jpg", "astronaut.png", ""], 4.0),
    }
    client = Client(start_cameras(folder, films, TABLES))
    client.until_ready()
    enroll_things(client)
    client.process.until(lambda: client.ask("GET", "/api/unknowns").json()["groups"], 120)
    client.process.until(lambda: client.ask("GET", "/api/history").json()["events"], 120)
    return client


def enroll_things(client: Client) -> None:
    """Enroll each of `ENROLLED` with three photos."""
    for label, photo in ENROLLED.items():
        for picture in (read_scene(photo), before_wall(photo), before_wall(photo)[60:420, 80:560]):
            image = np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)
            path = f"/api/labels/{label.replace(' ', '%20')}"
            assert client.ask("POST", path, encoded(image), Content_Type="image/jpeg").status == 201
