"""`edge-runtime desk roll`, and `desk run` that widens the waves by what boards report."""

from __future__ import annotations

import json
from pathlib import Path

from edge_runtime.desk.settings import Broker as BrokerSettings
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.fleet import picture
from tests.support.fleet.desk import make_plain_bundle, new_desk, rolled, status
from tests.support.fleet.running import DeskProcess
from tests.support.processes import run_cli

TOPIC = "edge-runtime/fleet/shop"


@needs_broker
def test_the_running_desk_widens_the_waves_and_halts(tmp_path: Path) -> None:
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.start()
    at = BrokerSettings(host="127.0.0.1", port=broker.port)
    desk = new_desk(tmp_path, picture("cat", 1), broker=at)
    bundle = make_plain_bundle(tmp_path / "bundle")
    board = Listener(broker.port)
    process = DeskProcess(desk.path)

    def say(state: str, attempt: int) -> None:
        report = {"id": rollout.id, "attempt": attempt, "state": state, "why": "no camera"}
        text = status("north", 1, rollout={**report, "cpu": "rpi4"}).decode()
        board.publish(f"{TOPIC}/boards/north", text, retain=True)

    try:
        process.until_logged("connected to the broker")
        done = run_cli(
            "desk", "roll", "--desk", desk.path, bundle, "--for", "rpi4", "--waves", "100"
        )
        assert done.returncode == 0, done.stderr
        rollout = rolled(desk)
        assert done.stdout.startswith(f"roll-out {rollout.id} for rpi4: running\n")
        say("failed", 1)
        until(lambda: rolled(desk).state == "halted", 60)
        process.until_logged("roll-out: halt, 100 % of the boards: north: no camera")
        done = run_cli("desk", "roll", "--desk", desk.path, "--json")
        shown = json.loads(done.stdout)
        assert shown["course"]["why"] == "north: no camera"
        done = run_cli("desk", "roll", "--desk", desk.path, "--resume")
        assert done.returncode == 0, done.stderr
        say("ready", 2)
        until(lambda: rolled(desk).state == "done", 60)
        done = run_cli("desk", "roll", "--desk", desk.path, "--abort")
        assert "aborted" in done.stdout
    finally:
        board.close()
        assert process.stop() == 0
        broker.stop()


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    bundle = make_plain_bundle(tmp_path / "bundle")
    for arguments, code, what in (
        ((bundle, "--resume"), 2, "cannot be combined"),
        ((bundle, "--waves", "50,10,100"), 2, "ascending shares in percent"),
        ((bundle, "--waves", "1,x"), 2, "could not convert"),
        ((bundle, "--for", "rpi5"), 15, "compiled for rpi4, not for rpi5"),
        (("--abort",), 15, "no roll-out has been started"),
    ):
        done = run_cli("desk", "roll", "--desk", desk.path, *arguments)
        assert (done.returncode, what in done.stderr) == (code, True), done.stderr
    done = run_cli("desk", "roll", "--desk", desk.path)
    assert done.stdout == "no roll-out has been started\n"
