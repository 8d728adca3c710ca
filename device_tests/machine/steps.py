"""What is done with the emulated board, step by step; each leaves it as the next one needs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.scenes import read_scene
from device_tests.machine import camera, webcam
from device_tests.machine.image import LINK
from device_tests.machine.qemu import Machine
from device_tests.machine.service import (
    configure,
    deploy,
    enrol_the_frame,
    faulty_checkout,
    shown,
    until,
    until_camera,
    until_recognised,
)
from device_tests.machine.usbip import Port
from device_tests.machine.webcam import Webcam
from edge_runtime.errors import BoardLostError

LABEL = "test card"
CONFIG = f"""\
output.format = "json"
[camera]
source = "{LINK}"
fps = 5
first_frame_s = 60
next_frame_s = 20
retry_longest_s = 2
retry_budget = 1000
[decision]
window = 3
[http]
port = 8080
"""
EXPOSURE = 3.0
"""Of 10, by `systemd-analyze security`: below is "OK"."""
MEMORY_BYTES = 400 * 2**20
RUNTIME = "/opt/edge-runtime/current/venv/bin/python -m edge_runtime"


@dataclass(frozen=True)
class Scene:
    """What the steps need."""

    machine: Machine
    bundle: Path
    folder: Path
    """For what they write here."""
    report: Path | None
    """Where the profile is kept."""
    say: Callable[[str], None]

    def check(self, what: str, holds: object) -> None:
        """Say it, if it holds; else raise `BoardLostError`."""
        if not holds:
            raise BoardLostError(f"not so: {what}", where="board")
        self.say(what)


def boot(scene: Scene) -> None:
    """It runs, nothing has failed, and it has a camera."""
    run = scene.machine.run
    scene.say(run("uname -srm; . /etc/os-release; echo $PRETTY_NAME; systemctl --version").stdout)
    state = run("systemctl is-system-running --wait", check=False).stdout.strip()
    scene.check(f"systemd is {state}", state == "running")
    camera.plug(scene.machine, 0)
    scene.say(run(f"ls -l {LINK} /dev/video0").stdout)


def deploy_onto_a_bare_board(scene: Scene) -> None:
    """Environment, bundle, user, unit: all of it is made."""
    configure(scene.machine, CONFIG)
    done = deploy(scene.machine, scene.bundle)
    scene.say(done.stderr)
    scene.check("deployed, and ready", done.returncode == 0 and "is ready" in done.stderr)


def what_systemd_enforces(scene: Scene) -> None:
    """The options of the unit are in force, not only written down."""
    unit = shown(
        scene.machine,
        *("Type", "ActiveState", "MainPID", "User", "WatchdogUSec", "MemoryMax", "StatusText"),
    )
    scene.say(", ".join(f"{name}={value}" for name, value in unit.items()))
    scene.check("Type=notify, and it said that it is ready", unit["Type"] == "notify")
    scene.check("the watchdog waits for 30 s", unit["WatchdogUSec"] == "30s")
    group = "/sys/fs/cgroup/system.slice/edge-runtime.service"
    limit, used = scene.machine.run(f"cat {group}/memory.max {group}/memory.current").stdout.split()
    scene.check(
        f"the kernel holds it to {int(limit) / 2**20:.0f} MiB, of which it uses "
        f"{int(used) / 2**20:.0f}",
        int(limit) == MEMORY_BYTES,
    )
    status = scene.machine.run(f"sudo cat /proc/{unit['MainPID']}/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    video = scene.machine.run("getent group video").stdout.split(":")[2]
    scene.check(f"it is user {facts['Uid'].split()[0]}, not root", facts["Uid"].split()[0] != "0")
    scene.check("it is in the group video", video in facts["Groups"].split())
    scene.check("it has no capabilities", int(facts["CapEff"], 16) == 0)
    scene.check("it cannot gain privileges", facts["NoNewPrivs"] == "1")
    scene.check("its system calls are filtered", facts["Seccomp"] == "2")
    inside = f"sudo nsenter --target {unit['MainPID']} --mount"
    for place in ("/usr/x", "/etc/x", "/opt/edge-runtime/x"):
        denied = scene.machine.run(f"{inside} touch {place}", check=False)
        scene.check(f"{place} is read-only, for root too", "Read-only" in denied.stderr)
    home = scene.machine.run(f"{inside} ls -A /home").stdout
    scene.check("it sees nobody's home", home.strip() == "")
    said = scene.machine.run("systemd-analyze security --no-pager edge-runtime.service").stdout
    line = next(line for line in said.splitlines() if "exposure level" in line)
    found = re.search(r": ([0-9.]+)", line)
    scene.check(line.strip().lstrip("→ "), found and float(found[1]) < EXPOSURE)


def begin_without_a_camera(scene: Scene) -> None:
    """The service starts before the kernel knows of any camera; the first one comes later."""
    scene.machine.run("sudo systemctl stop edge-runtime")
    camera.forget_drivers(scene.machine)
    scene.machine.run("sudo systemctl start edge-runtime", limit_s=900)
    found = until_camera(scene.machine, "degraded")
    scene.say(f"{found['state']}: {found['fault']}")
    camera.plug(scene.machine, 0)
    until_camera(scene.machine, "running")
    scene.say("a camera that is plugged in after the start may be used")


def recognise_what_was_enrolled(scene: Scene) -> None:
    """Enrolled from the camera through the API, recognised on the frames after it."""
    until_camera(scene.machine, "running")
    made = enrol_the_frame(scene.machine, LABEL)
    scene.check(f"enrolled what the camera sees: {json.dumps(made)}", made["added"])
    status = until_recognised(scene.machine, LABEL)
    scene.say(f"engine {status['engine']['name']} ({status['engine']['reason']})")
    events = scene.machine.run("sudo journalctl -u edge-runtime -o cat | grep '\"enter\"'").stdout
    scene.say(events.splitlines()[-1])
    scene.check("RECOGNISED the enrolled scene", status["recognition"]["label"] == LABEL)


def pull_the_cable(scene: Scene) -> None:
    """Reads fail; it is opened again."""
    before = until_camera(scene.machine, "running")["restarts"]
    camera.pull_cable(scene.machine, 0)
    found = until_camera(scene.machine, "running", before + 1)
    scene.say(f"opened again: {found['restarts'] - before} restarts")
    until_recognised(scene.machine, LABEL)
    scene.say("SURVIVED a pulled cable")


def unplug_and_come_back_elsewhere(scene: Scene) -> None:
    """The driver goes, and comes back with another number."""
    camera.pull_cable(scene.machine, 0)
    camera.unplug(scene.machine)
    found = until_camera(scene.machine, "degraded")
    scene.say(f"{found['state']}: {found['fault']}")
    camera.plug(scene.machine, 2)
    until_camera(scene.machine, "running", found["restarts"])
    until_recognised(scene.machine, LABEL)
    scene.say("SURVIVED an unplug, and a return as /dev/video2")


def hang(scene: Scene) -> None:
    """A process that is stopped feeds no watchdog: systemd begins anew."""
    before = shown(scene.machine, "MainPID", "NRestarts")
    scene.machine.run(f"sudo kill -STOP {before['MainPID']}")

    def again() -> bool:
        now = shown(scene.machine, "MainPID", "NRestarts", "ActiveState")
        new = now["MainPID"] not in ("0", before["MainPID"])
        return new and now["ActiveState"] == "active" and now["NRestarts"] != before["NRestarts"]

    until("the watchdog bites", again, 900)
    said = scene.machine.run("sudo journalctl -u edge-runtime -o cat | grep -i watchdog").stdout
    scene.check(said.splitlines()[-1], said.strip())
    until_recognised(scene.machine, LABEL)
    scene.say("RESTARTED by the watchdog")


def reload_and_stop(scene: Scene) -> None:
    """SIGHUP keeps it; SIGTERM ends it cleanly."""
    scene.machine.run("sudo systemctl reload edge-runtime")
    until_recognised(scene.machine, LABEL)
    scene.say("reloaded")
    scene.machine.run("sudo systemctl stop edge-runtime")
    unit = shown(
        scene.machine,
        *("Result", "ExecMainCode", "ExecMainStatus", "ActiveExitTimestampMonotonic"),
        "InactiveEnterTimestampMonotonic",
    )
    took_us = int(unit["InactiveEnterTimestampMonotonic"]) - int(
        unit["ActiveExitTimestampMonotonic"]
    )
    scene.check(
        f"SIGTERM ended it in {took_us / 1e6:.1f} s (emulated), with exit code "
        f"{unit['ExecMainStatus']}",
        unit["Result"] == "success" and unit["ExecMainStatus"] == "0",
    )


def deploy_again(scene: Scene) -> None:
    """The same again: nothing is installed, it is only started anew."""
    done = deploy(scene.machine, scene.bundle)
    scene.say(done.stderr)
    scene.check("safe to repeat", done.returncode == 0 and "installing" not in done.stderr)
    until_recognised(scene.machine, LABEL)


def deploy_a_faulty_release(scene: Scene) -> None:
    """It does not become ready: back to the one before."""
    before = scene.machine.run("readlink /opt/edge-runtime/current").stdout
    checkout = faulty_checkout(scene.folder / "checkout")
    done = deploy(scene.machine, scene.bundle, checkout)
    scene.say("\n".join(line for line in done.stderr.splitlines() if "deploy: " in line))
    after = scene.machine.run("readlink /opt/edge-runtime/current").stdout
    scene.check("exit code 9", done.returncode == 9)
    scene.check("ROLLED BACK to the release before", after == before)
    until_recognised(scene.machine, LABEL)


def film_with_a_webcam(scene: Scene) -> None:
    """A USB camera: Motion JPEG is agreed upon, recognised, and survives a pulled cable."""
    cup, cat = read_scene("coffee.png"), read_scene("chelsea.png")
    film = Webcam(cup)
    with Port(film) as port:
        camera.plug_usb(scene.machine, port)
        configure(scene.machine, CONFIG.replace(LINK, webcam.LINK))
        scene.machine.run("sudo systemctl reload edge-runtime")
        found = until_camera(scene.machine, "running", named=webcam.LINK)
        scene.check(f"{found['name']} was asked for {film.asked_for}", film.asked_for == "MJPG")
        made = enrol_the_frame(scene.machine, "cup")
        scene.check(f"enrolled its picture: {json.dumps(made)}", made["added"])
        until_recognised(scene.machine, "cup")
        film.show(cat)
        until_recognised(scene.machine, None)
        film.show(cup)
        until_recognised(scene.machine, "cup")
        scene.say("RECOGNISED through Motion JPEG, and not another scene")
        port.pull()
        until_camera(scene.machine, "degraded")
        camera.plug_usb(scene.machine, port)
        found = until_camera(scene.machine, "running", found["restarts"] + 1)
        until_recognised(scene.machine, "cup")
        scene.check(f"SURVIVED a pulled cable; {found['damaged']} damaged frames", film.asked_for)
    configure(scene.machine, CONFIG)
    scene.machine.run("sudo systemctl reload edge-runtime")
    until_recognised(scene.machine, LABEL)


def profile_its_camera(scene: Scene) -> None:
    """A profile of what a webcam sees; a machine that is emulated gets no verdict."""
    run = scene.machine.run
    run("sudo systemctl stop edge-runtime")
    run("mkdir -p profile && sudo cp /var/lib/edge-runtime/gallery.sqlite profile/ && "
        "sudo chown -R pi: profile")  # fmt: skip
    with Port(Webcam(read_scene("coffee.png"))) as port:
        camera.plug_usb(scene.machine, port)
        done = run(
            f"cd profile && {RUNTIME} profile --quick --samples 8 --seconds 1 --cold-starts 1 "
            f"--camera {webcam.LINK} --gallery gallery.sqlite "
            "--model /opt/edge-runtime/current/model --out report.json",
            check=False,
            limit_s=3600,
        )
    text = run("cat profile/report.json").stdout
    report = json.loads(text)
    names = [brand["name"] for brand in report["brands"]]
    stages = {name: stage["p50_ms"] for name, stage in report["warm"]["stages"].items()}
    scene.say(", ".join(f"{name} {ms:.1f} ms" for name, ms in stages.items()) + " (emulated)")
    scene.check(
        f"profiled {report['warm']['stages']['query']['sample_count']} frames of its camera; "
        f"branded {', '.join(names)}",
        "emulated" in names and done.returncode == 9 and {"capture", "decode"} <= set(stages),
    )
    if scene.report:
        scene.report.write_text(text, encoding="utf-8")
    run("sudo systemctl start edge-runtime", limit_s=900)
    until_recognised(scene.machine, LABEL)


ALL = (
    boot,
    deploy_onto_a_bare_board,
    what_systemd_enforces,
    begin_without_a_camera,
    recognise_what_was_enrolled,
    pull_the_cable,
    unplug_and_come_back_elsewhere,
    film_with_a_webcam,
    hang,
    reload_and_stop,
    deploy_again,
    deploy_a_faulty_release,
    profile_its_camera,
)
