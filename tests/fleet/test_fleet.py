"""A fleet of processes under faults agrees in the end, and loses no enrollment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from profiles.bench.fleet.clocks import DAY_S, Clock, build_library
from profiles.bench.fleet.network import Namespaces, open_network
from tests.daemon.broker import needs_broker, until
from tests.support.processes import ROOT


def _command(*options: object) -> list[str]:
    return [sys.executable, "-m", "profiles.bench.fleet", *map(str, options)]


def _live(folder: Path, boards: int, seconds: float, seed: int) -> dict[str, Any]:
    """Return what the benchmark found."""
    options = ["--boards", boards, "--seconds", seconds, "--seed", seed, "--keep", folder / "fleet"]
    done = subprocess.run(_command(*options), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, report
    return report


@needs_broker
@pytest.mark.slow
def test_all_boards_hold_the_signed_content(tmp_path: Path) -> None:
    """The short form of the run of 100 s; root is needed for the partitions."""
    report = _live(tmp_path, 6, 45.0, 2)
    (run,) = report["runs"]
    assert (run["undecided"], run["behind"], run["queries_failed"]) == (0, [], 0)
    assert run["boards_equal_to_the_replayed_log"] == 6
    assert run["enrolled"]
    assert run["queries_answered"]
    faults = run["faults"]
    assert faults["broker: wiped"] == 2
    kinds = {name.partition(": ")[2] for name in faults}
    assert {"killed", "stopped"} <= kinds
    assert ("partitioned" in kinds) == (report["without_partitions"] == "")
    assert ("clock behind" in kinds) == (report["without_clock_skew"] == "")
    assert run["keys_replaced"] == (report["without_clock_skew"] == "")


@needs_broker
def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    """Neither a process nor a namespace, which lives as long as its processes."""
    folder = tmp_path / "fleet"
    options = ["--boards", 2, "--seconds", 100, "--seed", 1, "--keep", folder]
    child = subprocess.Popen(_command(*options), cwd=ROOT)
    try:
        until(lambda: (folder / "seed-1" / "board-01.log").exists(), 120)
        started = psutil.Process(child.pid).children(recursive=True)
        assert len(started) >= 5
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


def test_a_cable_can_be_pulled(tmp_path: Path) -> None:
    network, reason = open_network(["one", "two"])
    if not network.can_cut:
        pytest.skip(reason)
    assert isinstance(network, Namespaces)

    def reaches() -> bool:
        """Return whether `one` can open a connection to `two`."""
        ask = f"import socket; socket.create_connection(('{network.address('two')}', 80), 2)"
        command = [*network.inside("one"), sys.executable, "-c", ask]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    listen = (
        "import socket; s = socket.create_server(('', 80)); print(flush=True)\nwhile 1: s.accept()"
    )
    server = subprocess.Popen(
        [*network.inside("two"), sys.executable, "-c", listen], stdout=subprocess.PIPE
    )
    try:
        assert server.stdout
        server.stdout.readline()
        assert reaches()
        network.cut("two")
        assert not reaches()
        network.mend("two")
        until(reaches, 30)
    finally:
        network.close()
        server.kill()
        server.communicate()


def test_the_date_of_a_process_jumps_while_it_runs(tmp_path: Path) -> None:
    library, reason = build_library(tmp_path)
    if library is None:
        pytest.skip(reason)
    clock = Clock(library, tmp_path / "clock")
    say = "import time\nwhile input() or 1: print(time.time(), time.monotonic(), flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", say],
        env={**os.environ, **clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin
    assert child.stdout
    with child, child.stdin, child.stdout:
        for offset_s in (0.0, 10 * DAY_S, -400 * DAY_S, 0.0):
            clock.set(offset_s)
            child.stdin.write("\n")
            child.stdin.flush()
            date_s, monotonic_s = map(float, child.stdout.readline().split())
            assert abs(date_s - time.time() - offset_s) < 600
            assert abs(monotonic_s - time.monotonic()) < 600
        child.kill()
