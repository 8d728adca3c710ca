"""What the daemon of a board in a fleet says of its versions."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.cli import run_command
from tests.support.fleet.repository import SignedFolder
from tests.support.web import Client


def test_status_and_metrics_name_the_version(site: Client, folder: Path, tmp_path: Path) -> None:
    assert site.ask("GET", "/api/status").json()["fleet"] is None
    assert b"edge_fleet" not in site.ask("GET", "/metrics").body
    gallery = ["--gallery", str(folder / "g.sqlite")]
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
