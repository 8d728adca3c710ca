"""Deploy, join a fleet, and take a roll-out, under a real systemd: `make test-systemd`.

Real: systemd, its units and sandbox, sshd, `make deploy`, the desk's signed files over HTTP.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device_tests.machine.service import deploy, faulty_checkout
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import take_status
from edge_runtime.desk.publish import publish
from edge_runtime.desk.rollout.decision import Limits
from edge_runtime.desk.rollout.steps import situation, start, step
from edge_runtime.desk.settings import DeskSettings
from edge_runtime.desk.setup import make_desk
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.fleet.waves import Rollout
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE
from tests.boards.real_systemd.container import Container, make_base, missing
from tests.support.bundles import portable_bundle
from tests.support.fleet.tuf_client import file_server
from tests.support.processes import ROOT, patience

PLACE = os.environ.get("EDGE_RUNTIME_CONTAINER")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PLACE is None, reason="make test-systemd runs it"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]
OTHER_FILE = "mobilenet_v1_hash64.onnx"
COMMAND = "/usr/local/bin/edge-runtime"
STATE = "/var/lib/edge-runtime"
STATUS = "$(readlink -f /opt/edge-runtime/current/gallery.sqlite).fleet/status.json"
CONFIG = f'[camera]\nsource = "{STATE}/cat.mp4"\nloop = true\nreal_time = true\nfps = 2\n'
CONFIG += "[http]\nport = 0\n"  # with the page, the service starts without a gallery


def until(what: str, condition: Callable[[], Any], limit_s: float = 60) -> Any:
    end_s = time.monotonic() + limit_s * patience()
    while not (value := condition()):
        assert time.monotonic() < end_s, f"timed out waiting: {what}"
        time.sleep(0.5)
    return value


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    cv2.imwrite(str(path), cat)
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Iterator[Container]:
    """A bare system with a camera, which is a film, and its configuration."""
    assert PLACE
    container = Container(make_base(Path(PLACE)), tmp_path_factory.mktemp("board"))
    state = container.root / STATE.lstrip("/")
    state.mkdir(parents=True)
    writer = cv2.VideoWriter(
        str(state / "cat.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 20, (320, 240)
    )
    for _ in range(10):
        writer.write(np.asarray(cv2.resize(cat, (320, 240)), np.uint8))
    writer.release()
    config = container.root / "etc/edge-runtime/edge.toml"
    config.parent.mkdir()
    config.write_text(CONFIG)
    try:
        container.boot()
        yield container
    finally:
        container.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return portable_bundle(tmp_path_factory.mktemp("old") / "bundle", ROOT / "models" / MODEL_FILE)


def _deployed(board: Container, bundle: Path, root: Path = ROOT) -> str:
    done = deploy(board, bundle, root, target="host", ready_s=round(60 * patience()))
    assert done.returncode == 0, done.stderr
    return done.stderr


def _properties(board: Container, unit: str, *names: str) -> dict[str, str]:
    lines = board.run(f"systemctl show {unit} -p {','.join(names)}").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def _is_active(board: Container, unit: str) -> bool:
    return board.run(f"systemctl is-active {unit}", check=False).stdout.strip() == "active"


def _release(board: Container) -> str:
    return board.run("basename $(readlink -f /opt/edge-runtime/current)").stdout.strip()


def _gallery(path: Path, model: Path, photo: Path, *labels: str) -> Path:
    engine = PortableEngine(model)
    with Gallery(path, engine.model, create=True) as gallery:
        for label in labels:
            enroll_photos(engine, gallery, [(label, photo)], EnrollOptions(keep_pictures=True))
    return path


def _roll_out(board: Container, desk: Desk, file: str, photo: Path, folder: Path) -> Rollout:
    """Roll the model `file` out to all boards, and let the board look."""
    model = ROOT / "models" / file
    rollout = start(
        desk,
        portable_bundle(folder / "bundle", model),
        gallery=_gallery(folder / "new.sqlite", model, photo, "cat", "tom"),
        waves=(100.0,),
        limits=Limits(wait_s=600, failures=0),
    )
    board.run("systemctl restart edge-runtime-fleet")
    return rollout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    gallery = _gallery(folder / "g.sqlite", ROOT / "models" / MODEL_FILE, photo, "cat")
    return make_desk(folder / "desk", folder / "root", DeskSettings(fleet="shop"), gallery=gallery)


@pytest.fixture(scope="module")
def member(board: Container, bundle: Path, desk: Desk, photo: Path) -> Iterator[Container]:
    """The board, deployed to and joined, with roll-outs enabled by its owner."""
    _deployed(board, bundle)
    place = board.root / "root/photos/mine/cat.png"
    place.parent.mkdir(parents=True)
    shutil.copy(photo, place)
    board.run(f"{COMMAND} enroll /root/photos")
    with file_server(desk.public) as url:
        shutil.copy(desk.public / "metadata/1.root.json", board.root / "etc/edge-runtime/root.json")
        board.run(f"{COMMAND} fleet join {url} --root /etc/edge-runtime/root.json --board hall")
        board.run("systemctl enable --now edge-runtime-rollout.path edge-runtime-rollout.service")
        board.run("systemctl restart edge-runtime-fleet")
        yield board


def _fleet(board: Container) -> dict[str, Any]:
    done = board.run(f"{COMMAND} fleet status --json", check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def _record(board: Container) -> dict[str, Any]:
    done = board.run("cat /opt/edge-runtime/rollout.json", check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def _said(board: Container) -> dict[str, Any]:
    """What the follower reports of the roll-out."""
    done = board.run(f'cat "{STATUS}"', check=False)
    return dict(json.loads(done.stdout)["rollout"] or {}) if done.returncode == 0 else {}


def _report(board: Container, desk: Desk) -> None:
    """Bring the board's report to the desk, as a broker would; the roll-out must end with it."""
    said = board.run(f'cat "{STATUS}"').stdout.encode()
    take_status(desk.store, [("hall", said, False)])
    step(desk)
    now = situation(desk)
    assert now is not None
    assert now.rollout.state == "done", now


def test_deploy_onto_a_bare_system(board: Container, bundle: Path) -> None:
    said = _deployed(board, bundle)
    assert "installing release" in said and "is ready" in said
    assert _is_active(board, "edge-runtime")
    assert not _is_active(board, "edge-runtime-fleet")  # it has not joined one
    unit = _properties(board, "edge-runtime", "Type", "MainPID", "WatchdogUSec", "StatusText")
    assert (unit["Type"], unit["WatchdogUSec"]) == ("notify", "30s")
    status = board.run(f"cat /proc/{unit['MainPID']}/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split()[0] != "0"
    assert int(facts["CapEff"], 16) == 0
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    inside = f"nsenter --target {unit['MainPID']} --mount touch"
    for place in ("/usr/x", "/etc/x", "/opt/edge-runtime/x"):
        assert "Read-only" in board.run(f"{inside} {place}", check=False).stderr


def test_a_process_that_hangs_is_replaced(board: Container, bundle: Path) -> None:
    _deployed(board, bundle)
    before = _properties(board, "edge-runtime", "MainPID")["MainPID"]
    board.run(f"kill -STOP {before}")

    def again() -> bool:
        now = _properties(board, "edge-runtime", "MainPID", "ActiveState")
        return now["MainPID"] not in ("0", before) and now["ActiveState"] == "active"

    until("the watchdog replaces it", again, 120)


def test_a_faulty_release_is_rolled_back(board: Container, bundle: Path, tmp_path: Path) -> None:
    _deployed(board, bundle)
    before = _release(board)
    checkout = faulty_checkout(tmp_path / "checkout")
    done = deploy(board, bundle, checkout, target="host", ready_s=round(60 * patience()))
    assert done.returncode == 9, done.stderr
    assert _release(board) == before
    until("the old release runs", lambda: _is_active(board, "edge-runtime"))


def test_it_runs_again_after_a_power_cut(board: Container, bundle: Path) -> None:
    _deployed(board, bundle)
    board.cut_power()
    board.boot()
    until("the service runs", lambda: _is_active(board, "edge-runtime"))


def test_a_member_follows_the_fleet(member: Container, desk: Desk, photo: Path) -> None:
    until("the first version", lambda: _fleet(member).get("version") == 1)
    assert _is_active(member, "edge-runtime-fleet")
    unit = _properties(member, "edge-runtime-fleet", "MainPID", "User")
    assert unit["User"] == "edge-runtime"
    status = member.run(f"grep -E '^(CapEff|Seccomp):' /proc/{unit['MainPID']}/status").stdout
    assert status.split() == ["CapEff:", "0" * 16, "Seccomp:", "2"]
    engine = PortableEngine(ROOT / "models" / MODEL_FILE)
    with desk.gallery() as gallery:
        enroll_photos(engine, gallery, [("tom", photo)], EnrollOptions(keep_pictures=True))
    publish(desk)
    member.run("systemctl restart edge-runtime-fleet")
    until("the second version", lambda: _fleet(member).get("version") == 2)
    member.run("systemctl restart edge-runtime")  # restarts the follower, too
    until("the follower runs", lambda: _is_active(member, "edge-runtime-fleet"))


def test_the_weekly_report_is_written(member: Container) -> None:
    for name in ("edge-runtime-report.service", "edge-runtime-report.timer"):
        shutil.copy(ROOT / "deploy" / "units" / name, member.root / "etc/systemd/system")
    member.run("systemctl daemon-reload && systemctl start edge-runtime-report")
    for name in ("doctor", "gallery", "advice"):
        json.loads(member.run(f"cat {STATE}/reports/*/{name}.json").stdout)
    # Members of the group can still use the gallery, and others cannot.
    assert member.run(f"stat -c %a {STATE}").stdout.strip() == "2770"


def test_a_roll_out_is_installed_by_the_path_unit(
    member: Container, desk: Desk, photo: Path, tmp_path: Path
) -> None:
    before = _release(member)
    rollout = _roll_out(member, desk, OTHER_FILE, photo, tmp_path)
    until("it is installed", lambda: _record(member).get("state") in ("ready", "failed"), 240)
    record = _record(member)
    assert record["state"] == "ready", record
    assert _release(member) == record["release"] != before
    assert _is_active(member, "edge-runtime")
    until("the follower runs", lambda: _is_active(member, "edge-runtime-fleet"))
    until("it has the new gallery", lambda: _fleet(member).get("model_id") == rollout.model_id)
    # The release survives a power cut, and so does the unit that waits for the next roll-out.
    member.cut_power()
    member.boot()
    until("the service runs", lambda: _is_active(member, "edge-runtime"))
    assert _release(member) == record["release"]
    assert _is_active(member, "edge-runtime-rollout.path")
    until("it says so", lambda: _said(member).get("state") == "ready")
    _report(member, desk)


def test_a_power_cut_during_a_roll_out_ends_in_a_release(
    member: Container, desk: Desk, photo: Path, tmp_path: Path
) -> None:
    before = _release(member)
    _roll_out(member, desk, MODEL_FILE, photo, tmp_path)
    until("it begins", lambda: _record(member).get("state") == "working", 120)
    member.cut_power()
    member.boot()
    # At boot, the unit continues with what the cut ended.
    until("it is installed", lambda: _record(member).get("state") in ("ready", "failed"), 240)
    assert _record(member)["state"] == "ready", _record(member)
    assert _release(member) != before
    until("the service runs", lambda: _is_active(member, "edge-runtime"))
    failed = member.run("systemctl --failed --plain --no-legend").stdout
    assert "edge-runtime" not in failed
