"""One run of a fleet: its processes, the faults, the curator, and what came of it."""

from __future__ import annotations

import heapq
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edge_runtime.desk.edit import accept, reject
from edge_runtime.desk.publish import signed_version
from edge_runtime.desk.record import Record
from edge_runtime.desk.settings import Broker, DeskSettings
from edge_runtime.desk.setup import make_desk
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.fleet.following.joined import Joined, write_joined
from edge_runtime.gallery import Gallery
from profiles.bench.fleet import judge
from profiles.bench.fleet.board import ANSWERED, MODEL
from profiles.bench.fleet.clocks import Clock
from profiles.bench.fleet.network import Network
from profiles.bench.fleet.parts import ROOT, Mosquitto, Part, file_server, free_port
from profiles.bench.fleet.plan import OFF_S, Fault, first_clocks, make_plan

REJECTED = 0.1
"""Share of the proposals that the curator rejects."""
RENAME_S = 6.0
CURATE_S = 0.7
READY_S = 120.0
"""Longest time until the processes have started."""
AGREE_S = 300.0
"""Longest time that the fleet may take to agree after the last fault."""
FLEET = "bench"
T = TypeVar("T")


def board_names(count: int) -> list[str]:
    """Return the names of the boards."""
    return [f"board-{number:02d}" for number in range(count)]


class Fleet:
    """The folders and processes."""

    def __init__(
        self, folder: Path, network: Network, library: Path | None, boards: list[str]
    ) -> None:
        self.folder, self.network = folder, network
        self.calm = folder / "calm"
        """This file says that there are no more faults: boards then enroll nothing."""
        broker_port, file_port = free_port(), free_port()
        settings = DeskSettings(
            fleet=FLEET,
            broker=Broker(host=network.address("broker"), port=broker_port),
            name_again_s=2.0,
        )
        self.desk = make_desk(folder / "desk", folder / "root", settings, model=MODEL)

        def clock(name: str) -> Clock:
            return Clock(library, folder / f"{name}.clock")

        self.broker = Mosquitto(folder, broker_port, clock("broker"), network)
        files = file_server(folder, self.desk.public, file_port, clock("files"), network)
        run = [sys.executable, "-m", "profiles.bench.fleet.desk", self.desk.path]
        desk = Part("desk", run, folder / "desk.log", clock("desk"), network)
        self.parts: dict[str, Part] = {each.name: each for each in (self.broker, files, desk)}
        self.boards: dict[str, Path] = {}
        for name in boards:
            place = self.boards[name] = folder / name
            place.mkdir()
            Gallery(place / "gallery.sqlite", MODEL, create=True).close()
            url = f"http://{network.address('files')}:{file_port}/"
            joined = Joined(board=name, url=url, fleet=FLEET)
            write_joined(place / "gallery.sqlite", joined, self.desk.root.read_bytes())
            command = [sys.executable, "-m", "profiles.bench.fleet.board", place, self.calm]
            self.parts[name] = Part(name, command, folder / f"{name}.log", clock(name), network)

    def start(self) -> None:
        """Start what does not run."""
        for part in self.parts.values():
            part.start()

    def is_ready(self) -> bool:
        """Return whether the desk is connected, and every board has answered a query."""
        log = self.folder / "desk.log"
        places = [place / ANSWERED for place in self.boards.values()]
        return all(place.exists() for place in places) and "connected" in log.read_text()

    def kill(self) -> None:
        """End all processes."""
        for part in self.parts.values():
            part.kill()


class Curator(threading.Thread):
    """Decides on proposals, renames labels, and replaces the online keys when asked."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(daemon=True)
        self._fleet, self._desk = fleet, fleet.desk
        self.ended, self.rotate = threading.Event(), threading.Event()
        self.renamed = self.rotated = 0
        self._rename_at_s = time.monotonic() + RENAME_S

    def run(self) -> None:
        """Work until `ended` is set."""
        while not self.ended.wait(CURATE_S):
            attempt(self._decide)
            attempt(self._rename)
            if self.rotate.is_set():
                attempt(self._rotate)

    def _decide(self) -> None:
        pending = self._desk.store.proposals()
        refused = [each for each in pending if random.random() < REJECTED]
        reject(self._desk, refused)
        accept(self._desk, [each for each in pending if each not in refused])

    def _rename(self) -> None:
        if self._fleet.calm.exists() or time.monotonic() < self._rename_at_s:
            return
        self._rename_at_s = time.monotonic() + RENAME_S
        with self._desk.gallery() as gallery:
            if labels := list(gallery.labels()):
                gallery.relabel(random.choice(labels), f"renamed {os.urandom(2).hex()}")
                self.renamed += 1

    def _rotate(self) -> None:
        """Let two offline keys replace the online keys, as a person would."""
        command = [sys.executable, "-m", "edge_runtime", "desk", "rotate"]
        places = ["--desk", self._desk.path, "--root-keys", self._fleet.folder / "root"]
        done = subprocess.run(
            [*command, *map(str, places)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            click.echo(f"rotate: {done.stderr.strip()}", err=True)
        else:
            self.rotate.clear()
            self.rotated += 1


class Storm:
    """The faults of a run. For the main thread, whose end ends the processes."""

    def __init__(self, fleet: Fleet, curator: Curator, chance: random.Random) -> None:
        self._fleet, self._curator, self._chance = fleet, curator, chance
        self.counts: Counter[str] = Counter()
        self._undone: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def blow(self, plan: list[Fault], begin_s: float, end_s: float) -> None:
        """Let the faults happen, then end those that still last."""
        for fault in plan:
            self._until(begin_s + fault.at_s)
            if undo := self._do(fault):
                self._later(fault.lasts_s, undo)
        self._until(end_s)
        while self._undone:
            heapq.heappop(self._undone)[2]()

    def _until(self, until_s: float) -> None:
        """Wait, and undo what is due."""
        while (now_s := time.monotonic()) < until_s:
            due_s = self._undone[0][0] if self._undone else until_s
            if due_s <= now_s:
                heapq.heappop(self._undone)[2]()
            else:
                time.sleep(max(0.0, min(due_s, until_s) - now_s))

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        heapq.heappush(self._undone, (time.monotonic() + seconds, next(self._number), undo))

    def _do(self, fault: Fault) -> Callable[[], None] | None:
        """Begin a fault; return what ends it, or None if it is impossible here."""
        part, network = self._fleet.parts[fault.part], self._fleet.network
        kind = "board" if fault.part in self._fleet.boards else fault.part
        if fault.kind == "partitioned" and not network.can_cut:
            return None
        if fault.kind in ("clock", "future") and not part.clock.environment:
            return None
        self.counts[f"{kind}: {fault.described}"] += 1
        match fault.kind:
            case "killed" | "wiped":
                part.kill()
                if fault.kind == "wiped":
                    self._fleet.broker.wipe()
                return part.start
            case "stopped":
                part.stop()
                return part.go_on
            case "partitioned":
                network.cut(part.name)
                return lambda: network.mend(part.name)
            case "clock":
                part.clock.set(fault.clock_s)
                return lambda: self.set_right(part)
        part.clock.set(fault.clock_s)
        return lambda: self._leave_the_future(part)

    def set_right(self, part: Part) -> None:
        """Set a clock as a time server does, not exactly; that of the desk to the second."""
        part.clock.set(0 if part.name == "desk" else self._chance.uniform(-OFF_S, OFF_S))

    def _leave_the_future(self, desk: Part) -> None:
        desk.clock.set(0)
        self._curator.rotate.set()


def live(
    folder: Path,
    network: Network,
    library: Path | None,
    boards: list[str],
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    """Run a fleet for `seconds` under faults, let it agree, and return what was found."""
    chance = random.Random(seed)
    fleet = Fleet(folder, network, library, boards)
    curator = Curator(fleet)
    storm = Storm(fleet, curator, chance)
    plan = make_plan(boards, seconds, chance)
    for name, offset_s in first_clocks(boards, chance).items():
        fleet.parts[name].clock.set(offset_s)
    try:
        fleet.start()
        curator.start()
        begin_s = time.monotonic()
        while not fleet.is_ready() and time.monotonic() < begin_s + READY_S:
            time.sleep(0.2)
        begin_s = time.monotonic()
        storm.blow(plan, begin_s, begin_s + seconds)
        fleet.start()
        for part in fleet.parts.values():
            storm.set_right(part)
        calm_s = time.monotonic()
        fleet.calm.touch()
        while time.monotonic() < calm_s + AGREE_S:
            if not attempt(lambda: _open_questions(fleet), ["?"]):
                # The desk may just have published a decision again, without another content.
                fleet.parts["desk"].kill()
                if not attempt(lambda: _open_questions(fleet), ["?"]):
                    break
                fleet.parts["desk"].start()
            time.sleep(0.5)
        agreed_s = time.monotonic() - calm_s
    finally:
        curator.ended.set()
        if curator.is_alive():
            curator.join()
        fleet.kill()
    return {
        "seed": seed,
        "faults": dict(sorted(storm.counts.items())),
        "agreed_after_s": round(agreed_s, 1),
        "labels_renamed": curator.renamed,
        "keys_replaced": curator.rotated,
        **_found(fleet),
    }


def _open_questions(fleet: Fleet) -> list[str]:
    """Return what is not decided or not equal yet."""
    if more := judge.enrolling(fleet.boards.values()):
        return more
    missing = judge.enrolled(fleet.boards.values()) - judge.decided(fleet.desk)
    return [each.hex() for each in missing] or judge.behind(fleet.desk, fleet.boards)


def _found(fleet: Fleet) -> dict[str, Any]:
    """Return what the files say, when nothing runs any more."""
    desk, boards = fleet.desk, fleet.boards
    version = signed_version(desk.repository())
    signed = Record(desk.published).head(version).content
    replayed = judge.replay(desk, fleet.folder / "replayed.sqlite")
    contents = judge.contents(boards.values())
    enrolled = judge.enrolled(boards.values())
    undecided = enrolled - judge.decided(desk)
    counts = desk.store.count_proposals()
    answered, failed = judge.answered(boards.values())
    found: dict[str, Any] = {
        "versions": version,
        "enrolled": len(enrolled),
        "accepted": counts["accepted"],
        "rejected": counts["rejected"],
        "undecided": len(undecided),
        "behind": judge.behind(desk, boards),
        "different_contents": len(contents),
        "boards_equal_to_the_replayed_log": contents.get(replayed, 0),
        "queries_answered": answered,
        "queries_failed": failed,
    }
    agrees = (
        not undecided
        and not found["behind"]
        and signed == replayed
        and contents == {replayed: len(boards)}
        and not failed
    )
    return {**found, "agrees": agrees}


def attempt(act: Callable[[], T], otherwise: T | None = None) -> T | None:
    """Return what `act` returns; `otherwise` while a process holds what it needs."""
    try:
        return act()
    except EdgeRuntimeError as error:
        click.echo(f"curator: {error}", err=True)
        return otherwise
