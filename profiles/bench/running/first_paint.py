"""Benchmark how soon the page shows something, with the CPU share of a small board.

    python -m profiles.bench.running.first_paint [--factor N] [--out FILE]

The daemon hashes ten frames per second and gets one Nth of a core: it is stopped and continued
every few milliseconds. A real Chromium loads its page with an empty cache, and its own CPU is
throttled N times through the DevTools protocol, as if it ran on the board, too. The figure is the
"first contentful paint" of the browser's performance timeline. The board itself is not measured.
Use an idle machine. Exit code 9: the target was missed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click

from edge_runtime.errors import EXIT_CHECK_FAILED, ReportError
from edge_runtime.system.device import read_device
from profiles.bench.support.cameras import install_rpicam, noisy
from profiles.bench.support.harness import running_daemon
from profiles.bench.support.results import exit_on_error, write_report

TARGET_MS = 1000.0
FACTOR = 10
"""How many times slower a core of a Raspberry Pi 4 is taken to be. For it, docs/results/DEVICES.md
estimates 3.6 ms to resize a frame and 6.5 ms to decode a JPEG. In docs/results/PERFORMANCE.md,
these are 0.34 and 1.3 ms: 5 to 10 times less."""
PERIOD_S = 0.02
LOADS = 7
LOAD_S = 60.0
"""Limit for one load."""
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
PAINT = """
const entry = performance.getEntriesByName("first-contentful-paint")[0];
const page = performance.getEntriesByType("navigation")[0];
return entry ? [entry.startTime, page.responseStart, page.domContentLoadedEventEnd] : null;
"""


@contextmanager
def throttled(pid: int, share: float) -> Iterator[None]:
    """Let process `pid` run only for this share of the time."""
    end = threading.Event()

    def run() -> None:
        with suppress(ProcessLookupError):
            while not end.is_set():
                os.kill(pid, signal.SIGSTOP)
                time.sleep(PERIOD_S * (1 - share))
                os.kill(pid, signal.SIGCONT)
                time.sleep(PERIOD_S * share)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    """Open a headless Chromium with an empty profile; raises `ReportError` if there is none."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError as error:
        raise ReportError("selenium is missing", remedy="make setup") from error
    if not (program and driver):
        raise ReportError("no browser", remedy="apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-dev-shm-usage"),
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    chromium = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield chromium
    finally:
        chromium.quit()


def first_paint(chromium: Any, url: str, factor: float) -> dict[str, float]:
    """Load the page once without a cache; return milliseconds since the navigation began."""
    chromium.get("about:blank")
    for command, parameters in (
        ("Network.enable", {}),
        ("Network.setCacheDisabled", {"cacheDisabled": True}),
        ("Network.setBypassServiceWorker", {"bypass": True}),
        ("Emulation.setDeviceMetricsOverride", PHONE),
        ("Emulation.setCPUThrottlingRate", {"rate": factor}),
    ):
        chromium.execute_cdp_cmd(command, parameters)
    chromium.get(url)
    end_s = time.monotonic() + LOAD_S
    while (times := chromium.execute_script(PAINT)) is None:
        if time.monotonic() > end_s:
            raise ReportError("the page shows nothing", where=url)
        time.sleep(0.05)
    return dict(zip(("paint_ms", "first_byte_ms", "loaded_ms"), map(float, times), strict=True))


def measure(factor: float) -> dict[str, Any]:
    """Run all loads and return the report."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        install_rpicam(folder, noisy(["chelsea.png", "coffee.png"], 5), 10)
        config = (
            'gallery.path = "g.sqlite"\noutput.format = "none"\ngate.enabled = false\n'
            'camera.source = "rpicam"\n[http]\nport = 0\n'
        )
        with (
            running_daemon(config, path=str(folder)) as daemon,
            browser(folder / "profile") as chromium,
        ):
            daemon.wait_until(lambda: daemon.status()["ready"], 60)
            plain = [first_paint(chromium, daemon.url, 1) for _ in range(LOADS)]
            with throttled(daemon.child.pid, 1 / factor):
                slow = [first_paint(chromium, daemon.url, factor) for _ in range(LOADS)]
    figure = median(each["paint_ms"] for each in slow)
    return {
        "factor": factor,
        "unthrottled": {key: median(each[key] for each in plain) for key in plain[0]},
        "throttled": {key: median(each[key] for each in slow) for key in slow[0]},
        "loads": slow,
        "bars": {
            "first_paint_ms": {"figure": figure, "bar": TARGET_MS, "met": figure <= TARGET_MS}
        },
        "met": figure <= TARGET_MS,
    }


@click.command()
@click.option("--factor", type=click.FloatRange(1, 100), default=FACTOR, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(factor: float, out: Path | None) -> None:
    """Benchmark the first paint of the page."""
    with exit_on_error("first_paint"):
        report = {"device": asdict(read_device()), **measure(factor)}
        write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
