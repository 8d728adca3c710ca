"""The steps of the machine test. Each leaves the board in the state that the next one needs."""

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
    enroll_frame,
    faulty_checkout,
    recognized_label,
    unit_properties,
    wait_until,
    wait_until_camera,
    wait_until_recognized,
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
EXPOSURE = 1.8
"""Highest exposure level, of 10, of `systemd-analyze security`."""
MEMORY_BYTES = 400 * 2**20
RUNTIME = "/opt/edge-runtime/current/venv/bin/python -m edge_runtime"


@dataclass(frozen=True)
class Context:
    """The board and the files that the steps work with."""

    machine: Machine
    bundle: Path
    folder: Path
    """Folder on this machine for files that the steps write."""
    report: Path | None
    """File for the profile."""
    log: Callable[[str], None]

    def check(self, what: str, holds: object) -> None:
        """Log `what` if it holds, otherwise raise `BoardLostError`."""
        if not holds:
            raise BoardLostError(f"failed: {what}", where="board")
        self.log(what)


def boot(context: Context) -> None:
    """Check that the system runs without failed units, and plug in a camera."""
    run = context.machine.run
    context.log(run("uname -srm; . /etc/os-release; echo $PRETTY_NAME; systemctl --version").stdout)
    state = run("systemctl is-system-running --wait", check=False).stdout.strip()
    context.check(f"systemd is {state}", state == "running")
    camera.plug(context.machine, 0)
    context.log(run(f"ls -l {LINK} /dev/video0").stdout)


def deploy_onto_a_bare_board(context: Context) -> None:
    """Deploy onto a system without environment, bundle, user or unit."""
    configure(context.machine, CONFIG)
    done = deploy(context.machine, context.bundle)
    context.log(done.stderr)
    context.check("deployed and ready", done.returncode == 0 and "is ready" in done.stderr)


def what_systemd_enforces(context: Context) -> None:
    """Check that the options of the unit are in effect."""
    unit = unit_properties(
        context.machine,
        *("Type", "ActiveState", "MainPID", "User", "WatchdogUSec", "MemoryMax", "StatusText"),
    )
    context.log(", ".join(f"{name}={value}" for name, value in unit.items()))
    context.check("Type=notify, and the service reported readiness", unit["Type"] == "notify")
    context.check("the watchdog timeout is 30 s", unit["WatchdogUSec"] == "30s")
    group = "/sys/fs/cgroup/system.slice/edge-runtime.service"
    limit, used = context.machine.run(
        f"cat {group}/memory.max {group}/memory.current"
    ).stdout.split()
    context.check(
        f"the kernel limits it to {int(limit) / 2**20:.0f} MiB, of which it uses "
        f"{int(used) / 2**20:.0f} MiB",
        int(limit) == MEMORY_BYTES,
    )
    status = context.machine.run(f"sudo cat /proc/{unit['MainPID']}/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    video = context.machine.run("getent group video").stdout.split(":")[2]
    context.check(
        f"it runs as user {facts['Uid'].split()[0]}, not root", facts["Uid"].split()[0] != "0"
    )
    context.check("it belongs to the group video", video in facts["Groups"].split())
    context.check("it has no capabilities", int(facts["CapEff"], 16) == 0)
    context.check("it cannot gain privileges", facts["NoNewPrivs"] == "1")
    context.check("its system calls are filtered", facts["Seccomp"] == "2")
    inside = f"sudo nsenter --target {unit['MainPID']} --mount"
    for place in ("/usr/x", "/etc/x", "/opt/edge-runtime/x"):
        denied = context.machine.run(f"{inside} touch {place}", check=False)
        context.check(f"{place} is read-only, also for root", "Read-only" in denied.stderr)
    home = context.machine.run(f"{inside} ls -A /home").stdout
    context.check("it cannot see home folders", home.strip() == "")
    output = context.machine.run("systemd-analyze security --no-pager edge-runtime.service").stdout
    line = next(line for line in output.splitlines() if "exposure level" in line)
    level = re.search(r": ([0-9.]+)", line)
    context.check(line.strip().lstrip("→ "), level and float(level[1]) <= EXPOSURE)


def begin_without_a_camera(context: Context) -> None:
    """Start the service before the kernel knows any camera, then plug in the first one."""
    context.machine.run("sudo systemctl stop edge-runtime")
    camera.forget_drivers(context.machine)
    context.machine.run("sudo systemctl start edge-runtime", limit_s=900)
    status = wait_until_camera(context.machine, "degraded")
    context.log(f"{status['state']}: {status['fault']}")
    camera.plug(context.machine, 0)
    wait_until_camera(context.machine, "running")
    context.log("a camera that is plugged in after the start can be used")


def recognize_what_was_enrolled(context: Context) -> None:
    """Enroll a camera frame through the API and recognize it on later frames."""
    wait_until_camera(context.machine, "running")
    answer = enroll_frame(context.machine, LABEL)
    context.check(f"enrolled the camera frame: {json.dumps(answer)}", answer["pictures_added"])
    status = wait_until_recognized(context.machine, LABEL)
    context.log(f"engine {status['engine']['name']} ({status['engine']['reason']})")
    events = context.machine.run("sudo journalctl -u edge-runtime -o cat | grep '\"enter\"'").stdout
    context.log(events.splitlines()[-1])
    context.check("RECOGNIZED the enrolled scene", recognized_label(status) == LABEL)


def pull_the_cable(context: Context) -> None:
    """Pull the cable: reads fail, and the camera is opened again."""
    before = wait_until_camera(context.machine, "running")["restarts"]
    camera.pull_cable(context.machine, 0)
    status = wait_until_camera(context.machine, "running", before + 1)
    context.log(f"opened again: {status['restarts'] - before} restarts")
    wait_until_recognized(context.machine, LABEL)
    context.log("SURVIVED a pulled cable")


def unplug_and_come_back_elsewhere(context: Context) -> None:
    """Remove the driver; the camera comes back under another number."""
    camera.pull_cable(context.machine, 0)
    camera.unplug(context.machine)
    status = wait_until_camera(context.machine, "degraded")
    context.log(f"{status['state']}: {status['fault']}")
    camera.plug(context.machine, 2)
    wait_until_camera(context.machine, "running", status["restarts"])
    wait_until_recognized(context.machine, LABEL)
    context.log("SURVIVED an unplug and a return as /dev/video2")


def hang(context: Context) -> None:
    """Stop the process with SIGSTOP: the watchdog expires and systemd restarts the service."""
    before = unit_properties(context.machine, "MainPID", "NRestarts")
    context.machine.run(f"sudo kill -STOP {before['MainPID']}")

    def again() -> bool:
        now = unit_properties(context.machine, "MainPID", "NRestarts", "ActiveState")
        new = now["MainPID"] not in ("0", before["MainPID"])
        return new and now["ActiveState"] == "active" and now["NRestarts"] != before["NRestarts"]

    wait_until("the watchdog restarts the service", again, 900)
    output = context.machine.run("sudo journalctl -u edge-runtime -o cat | grep -i watchdog").stdout
    context.check(output.splitlines()[-1], output.strip())
    wait_until_recognized(context.machine, LABEL)
    context.log("RESTARTED by the watchdog")


def reload_and_stop(context: Context) -> None:
    """Reload with SIGHUP, then stop with SIGTERM."""
    context.machine.run("sudo systemctl reload edge-runtime")
    wait_until_recognized(context.machine, LABEL)
    context.log("reloaded")
    context.machine.run("sudo systemctl stop edge-runtime")
    unit = unit_properties(
        context.machine,
        *("Result", "ExecMainCode", "ExecMainStatus", "ActiveExitTimestampMonotonic"),
        "InactiveEnterTimestampMonotonic",
    )
    took_us = int(unit["InactiveEnterTimestampMonotonic"]) - int(
        unit["ActiveExitTimestampMonotonic"]
    )
    context.check(
        f"SIGTERM ended it in {took_us / 1e6:.1f} s (emulated), with exit code "
        f"{unit['ExecMainStatus']}",
        unit["Result"] == "success" and unit["ExecMainStatus"] == "0",
    )


def deploy_again(context: Context) -> None:
    """Deploy the same release again: nothing is installed, the service is only restarted."""
    done = deploy(context.machine, context.bundle)
    context.log(done.stderr)
    context.check("safe to repeat", done.returncode == 0 and "installing" not in done.stderr)
    wait_until_recognized(context.machine, LABEL)


def deploy_a_faulty_release(context: Context) -> None:
    """Deploy a release that does not become ready: the previous release is restored."""
    before = context.machine.run("readlink /opt/edge-runtime/current").stdout
    checkout = faulty_checkout(context.folder / "checkout")
    done = deploy(context.machine, context.bundle, checkout)
    context.log("\n".join(line for line in done.stderr.splitlines() if "deploy: " in line))
    after = context.machine.run("readlink /opt/edge-runtime/current").stdout
    context.check("exit code 9", done.returncode == 9)
    context.check("ROLLED BACK to the previous release", after == before)
    wait_until_recognized(context.machine, LABEL)


def film_with_a_webcam(context: Context) -> None:
    """Use a USB camera: negotiate Motion JPEG, recognize through it, survive a pulled cable."""
    cup, cat = read_scene("coffee.png"), read_scene("chelsea.png")
    webcam_device = Webcam(cup)
    with Port(webcam_device) as port:
        camera.plug_usb(context.machine, port)
        configure(context.machine, CONFIG.replace(LINK, webcam.LINK))
        context.machine.run("sudo systemctl reload edge-runtime")
        status = wait_until_camera(context.machine, "running", named=webcam.LINK)
        context.check(
            f"{status['name']} negotiated {webcam_device.format}", webcam_device.format == "MJPG"
        )
        answer = enroll_frame(context.machine, "cup")
        context.check(f"enrolled its frame: {json.dumps(answer)}", answer["pictures_added"])
        wait_until_recognized(context.machine, "cup")
        webcam_device.show(cat)
        wait_until_recognized(context.machine, None)
        webcam_device.show(cup)
        wait_until_recognized(context.machine, "cup")
        context.log("RECOGNIZED through Motion JPEG; another scene is not recognized")
        port.pull()
        wait_until_camera(context.machine, "degraded")
        camera.plug_usb(context.machine, port)
        status = wait_until_camera(context.machine, "running", status["restarts"] + 1)
        wait_until_recognized(context.machine, "cup")
        context.check(
            f"SURVIVED a pulled cable; {status['damaged']} damaged frames", webcam_device.format
        )
    configure(context.machine, CONFIG)
    context.machine.run("sudo systemctl reload edge-runtime")
    wait_until_recognized(context.machine, LABEL)


def profile_its_camera(context: Context) -> None:
    """Profile the webcam. An emulated machine gets no verdict."""
    run = context.machine.run
    run("sudo systemctl stop edge-runtime")
    run("mkdir -p profile && sudo cp /var/lib/edge-runtime/gallery.sqlite profile/ && "
        "sudo chown -R pi: profile")  # fmt: skip
    with Port(Webcam(read_scene("coffee.png"))) as port:
        camera.plug_usb(context.machine, port)
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
    context.log(", ".join(f"{name} {ms:.1f} ms" for name, ms in stages.items()) + " (emulated)")
    context.check(
        f"profiled {report['warm']['stages']['query']['sample_count']} frames of its camera; "
        f"flagged {', '.join(names)}",
        "emulated" in names and done.returncode == 9 and {"capture", "decode"} <= set(stages),
    )
    if context.report:
        context.report.write_text(text, encoding="utf-8")
    run("sudo systemctl start edge-runtime", limit_s=900)
    wait_until_recognized(context.machine, LABEL)


ALL = (
    boot,
    deploy_onto_a_bare_board,
    what_systemd_enforces,
    begin_without_a_camera,
    recognize_what_was_enrolled,
    pull_the_cable,
    unplug_and_come_back_elsewhere,
    film_with_a_webcam,
    hang,
    reload_and_stop,
    deploy_again,
    deploy_a_faulty_release,
    profile_its_camera,
)
