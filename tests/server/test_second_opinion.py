"""The daemon asks a server for what its gallery does not know: real processes."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.engine import Engine
from edge_runtime.image import Image
from tests.server.lookup_server import LookupServer
from tests.support.processes import run_cli
from tests.support.service import enroll_near
from tests.support.web import Client, make_film, start, start_cameras


def _of_film(image: Image) -> Image:
    """What a frame of a film of `image` shows."""
    return np.asarray(cv2.resize(image, (640, 480)), np.uint8)


def _other(cat: Image) -> Image:
    """Something else: the picture upside down, without color."""
    gray = cv2.cvtColor(np.ascontiguousarray(cat[::-1]), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def test_the_server_names_what_the_gallery_does_not_know(
    tmp_path: Path, engine: Engine, cat: Image
) -> None:
    film = make_film(tmp_path / "cat.mp4", cat)
    enroll_near(engine, tmp_path / "big.sqlite", tom=_of_film(cat))
    server = LookupServer("--gallery", tmp_path / "big.sqlite")
    process = start(tmp_path, film, f'[server]\nurl = "{server.url}"\nradius = 16\n')
    event = process.until_event("enter", "tom")
    assert event["origin"] == "server"
    client = Client(process)
    asked = client.ask("GET", "/api/status").json()["server"]
    assert asked["answered"] == asked["asked"] > 0
    assert asked["version"]
    assert asked["last_error"] is None
    frames = client.ask("GET", "/api/status").json()["frames"]
    process.until(lambda: client.ask("GET", "/api/status").json()["frames"] > frames + 60)
    again = client.ask("GET", "/api/status").json()["server"]
    assert again["asked"] <= 40, "the film has 20 pictures, and each code is asked once"
    server.end()
    frames = client.ask("GET", "/api/status").json()["frames"]
    process.until(lambda: client.ask("GET", "/api/status").json()["frames"] > frames + 40)
    assert not [each for each in process.events if each["kind"] == "leave"], "answers are kept"
    process.end()


def test_a_server_that_hangs_changes_nothing(tmp_path: Path, engine: Engine, cat: Image) -> None:
    films = {
        "known": make_film(tmp_path / "known.mp4", cat),
        "other": make_film(tmp_path / "other.mp4", _other(cat)),
    }
    enroll_near(engine, tmp_path / "g.sqlite", cat=_of_film(cat))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        table = f'[server]\nurl = "{url}"\ntimeout_s = 60\n[decision]\nradius = 16\n'
        process = start_cameras(tmp_path, films, table)
        event = process.until_event("enter", "cat")
        assert (event["camera"], event["origin"]) == ("known", "gallery")
        client = Client(process)
        asked = process.until(lambda: client.ask("GET", "/api/status").json()["server"]["asked"])
        frames = client.ask("GET", "/api/status").json()["frames"]
        process.until(lambda: client.ask("GET", "/api/status").json()["frames"] > frames + 100)
        now = client.ask("GET", "/api/status").json()
        assert now["server"]["answered"] == now["server"]["failed"] == 0, "it still waits"
        assert now["server"]["asked"] == asked
        assert client.ask("GET", "/readyz").status == 200
        assert process.end() < 20


def test_a_dead_server_is_logged_once_and_asked_again(
    tmp_path: Path, engine: Engine, cat: Image
) -> None:
    film = make_film(tmp_path / "cat.mp4", cat)
    enroll_near(engine, tmp_path / "big.sqlite", tom=_of_film(cat))
    first = LookupServer("--gallery", tmp_path / "big.sqlite")
    port = first.url.rpartition(":")[2]
    first.end()
    more = f'[server]\nurl = "http://127.0.0.1:{port}"\nradius = 16\n'
    process = start(tmp_path, film, more)
    process.until_logged("stays unknown")
    second = LookupServer("--gallery", tmp_path / "big.sqlite", "--port", port)
    assert process.until_event("enter", "tom")["origin"] == "server"
    assert sum("stays unknown" in line for line in process.log_lines) == 1
    process.end()
    second.end()


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    for line, part in (
        ('url = "x"', "server.url"),
        ('url = "http://"', "server.url"),
        ('url = "http://u:p@h"', "token_file"),
        ("timeout_s = 5", "server.url"),
        ('url = "http://h"\ntimeout_s = 0', "server.timeout_s"),
    ):
        config = tmp_path / "edge.toml"
        config.write_text(f'[camera]\nsource = "{tmp_path}"\n[server]\n{line}\n')
        refused = run_cli("run", "--config", config)
        assert refused.returncode == 3, (line, refused.stderr)
        assert part in refused.stderr
