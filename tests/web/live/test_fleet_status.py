"""What the daemon of a board in a fleet says of its versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.cli import run_command
from edge_runtime.image import Image
from tests.support.fleet.repository import SignedFolder
from tests.support.web import Client, make_film, start


@pytest.fixture
def site(tmp_path: Path, cat: Image) -> Iterator[Client]:
    process = start(tmp_path, make_film(tmp_path / "cat.mp4", cat))
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


def test_status_and_metrics_name_the_version(site: Client, tmp_path: Path) -> None:
    assert site.ask("GET", "/api/status").json()["fleet"] is None
    assert b"edge_fleet" not in site.ask("GET", "/metrics").body
    gallery = ["--gallery", str(tmp_path / "g.sqlite")]
    signed = SignedFolder(tmp_path / "public")
    root = ["--root", str(signed.trust), "--board", "kitchen"]
    assert run_command(["fleet", "join", str(signed.folder), *root, *gallery]) == 0
    assert run_command(["fleet", "follow", "--once", *gallery]) == 0
    fleet = site.ask("GET", "/api/status").json()["fleet"]
    assert (fleet["version"], fleet["pending"], fleet["ready"]) == (0, 0, True)
    text = site.ask("GET", "/metrics").body.decode()
    assert "edge_fleet_version 0.0\n" in text
    assert "edge_fleet_ready 1.0\n" in text
    assert run_command(["fleet", "leave", *gallery]) == 0
    assert site.ask("GET", "/api/status").json()["fleet"] is None
