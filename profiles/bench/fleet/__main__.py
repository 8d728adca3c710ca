"""Let a fleet live under faults, and check that it agrees in the end.

    python -m profiles.bench.fleet --boards 12 --seconds 60

A desk, mosquitto, a file server and boards run as processes. All of them are killed with signal 9
and stopped at random, and the broker's disk is wiped. A curator accepts, rejects and renames. When
the faults end, all boards must have the content of the last signed version, and every enrollment
that a board committed must be decided. Prints JSON; the exit code is 9 if the fleet does not agree.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from edge_runtime.desk.edit import accept, reject
from edge_runtime.desk.publish import signed_version
from edge_runtime.desk.record import Record
from edge_runtime.desk.settings import Broker, DeskSettings
from edge_runtime.desk.setup import make_desk
from edge_runtime.errors import EXIT_CHECK_FAILED, EdgeRuntimeError
from edge_runtime.fleet.content import gallery_digest
from edge_runtime.fleet.follower import board_state
from edge_runtime.fleet.following.joined import Joined, write_joined
from edge_runtime.gallery import Gallery
from profiles.bench.fleet.board import MODEL
from profiles.bench.fleet.parts import Mosquitto, Part, file_server, free_port

REJECTED = 0.1
"""Share of the proposals that the curator rejects."""
RENAME_S = 6.0
AGREE_S = 180.0
"""Longest time that the fleet may take to agree after the last fault."""
FLEET = "bench"


class Fleet:
    """The processes, and the curator."""

    def __init__(self, folder: Path, boards: int, end: float) -> None:
        broker_port, file_port = free_port(), free_port()
        settings = DeskSettings(
            fleet=FLEET, broker=Broker(host="127.0.0.1", port=broker_port), name_again_s=2.0
        )
        self.desk = make_desk(folder / "desk", folder / "root", settings, model=MODEL)
        self.broker = Mosquitto(folder, broker_port)
        self.files = file_server(folder, self.desk.public, file_port)
        run = [sys.executable, "-m", "edge_runtime", "desk", "run", "--desk", self.desk.path]
        self.desk_part = Part("desk", [*run, "--publish-every", 1], folder / "desk.log")
        self.boards: dict[str, Path] = {}
        parts = [self.broker, self.files, self.desk_part]
        for number in range(boards):
            name = f"board-{number:02d}"
            place = self.boards[name] = folder / name
            place.mkdir()
            Gallery(place / "gallery.sqlite", MODEL, create=True).close()
            joined = Joined(board=name, url=f"http://127.0.0.1:{file_port}/", fleet=FLEET)
            write_joined(place / "gallery.sqlite", joined, self.desk.root.read_bytes())
            command = [sys.executable, "-m", "profiles.bench.fleet.board", place, end]
            parts.append(Part(name, command, folder / f"{name}.log"))
        self.parts: list[Part] = parts
        self.renamed = 0
        self._rename_at = time.time() + RENAME_S

    def curate(self) -> None:
        """Decide on what waits, and rename a label from time to time."""
        pending = self.desk.store.proposals()
        refused = [each for each in pending if random.random() < REJECTED]
        reject(self.desk, refused)
        accept(self.desk, [each for each in pending if each not in refused])
        if time.time() > self._rename_at:
            self._rename_at = time.time() + RENAME_S
            with self.desk.gallery() as gallery:
                if labels := list(gallery.labels()):
                    gallery.relabel(random.choice(labels), f"renamed {os.urandom(2).hex()}")
                    self.renamed += 1

    def fault(self) -> str:
        """Do something bad to one process; return what it was."""
        part = random.choice([*self.parts, self.desk_part, self.broker, self.files])
        kind = "board" if part.name in self.boards else part.name
        if random.random() < 0.35:
            part.stop_for(random.uniform(0.5, 3.0))
            return f"{kind} stopped"
        part.kill()
        wiped = part is self.broker and random.random() < 0.5
        if wiped:
            self.broker.wipe()
        time.sleep(random.uniform(0.1, 1.0))
        part.start()
        return f"{kind} wiped" if wiped else f"{kind} killed"

    def enrolled(self) -> set[bytes]:
        """Return the digests that boards have committed."""
        found: set[bytes] = set()
        for place in self.boards.values():
            journal = place / "enrolled.txt"
            if journal.exists():
                # A kill may have cut the last line.
                found |= {
                    bytes.fromhex(line) for line in journal.read_text().split() if len(line) == 64
                }
        return found

    def undecided(self) -> set[bytes]:
        """Return enrollments that no signed version has named."""
        named = {each.digest for each in self.desk.store.proposals(None) if each.version}
        return self.enrolled() - named

    def behind(self) -> list[str]:
        """Return the boards that have another version or pictures without a decision."""
        version = signed_version(self.desk.repository())
        found = []
        for name, place in self.boards.items():
            state = board_state(place / "gallery.sqlite")
            if state.version != version or state.pending:
                found.append(name)
        return found

    def contents(self) -> dict[str, int]:
        """Return the contents of the boards' galleries, with the number of boards of each."""
        found: Counter[str] = Counter()
        for place in self.boards.values():
            with Gallery(place / "gallery.sqlite", read_only=True) as gallery:
                found[gallery_digest(gallery)] += 1
        return dict(found)


def live(folder: Path, boards: int, seconds: float) -> dict[str, Any]:
    """Run a fleet for `seconds` under faults, let it agree, and return what was found."""
    begin = time.time()
    end = begin + seconds
    fleet = Fleet(folder, boards, end)
    faults: Counter[str] = Counter()
    try:
        for part in fleet.parts:
            part.start()
        while time.time() < end:
            faults[fleet.fault()] += 1
            _try(fleet.curate)
        for part in fleet.parts:
            part.start()
        calm = time.time()
        while time.time() < calm + AGREE_S:
            _try(fleet.curate)
            if not fleet.undecided() and not _try(fleet.behind, ["?"]):
                break
            time.sleep(0.5)
        agreed_s = time.time() - calm
    finally:
        for part in fleet.parts:
            part.kill()
    version = signed_version(fleet.desk.repository())
    content = Record(fleet.desk.published).head(version).content
    contents = fleet.contents()
    enrolled, undecided = fleet.enrolled(), fleet.undecided()
    result = {
        "boards": boards,
        "seconds": seconds,
        "faults": dict(sorted(faults.items())),
        "versions": version,
        "enrolled": len(enrolled),
        "undecided": len(undecided),
        "decisions": fleet.desk.store.count_proposals(),
        "labels_renamed": fleet.renamed,
        "agreed_after_s": round(agreed_s, 1),
        "behind": fleet.behind(),
        "contents": len(contents),
        "boards_with_the_signed_content": contents.get(content, 0),
    }
    good = not undecided and not result["behind"] and contents == {content: boards}
    return {**result, "agrees": good}


def _try(act: Any, otherwise: Any = None) -> Any:
    """Return what `act` returns; `otherwise` while a process holds what it needs."""
    try:
        return act()
    except EdgeRuntimeError as error:
        click.echo(f"curator: {error}", err=True)
        return otherwise


@click.command()
@click.option("--boards", type=click.IntRange(1, 1000), default=12, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True)
@click.option("--seed", type=int, help="Order of the faults.  [default: another each time]")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the folders and logs in this new folder.",
)
def main(boards: int, seconds: float, seed: int | None, keep: Path | None) -> None:
    """Let a fleet live under faults, and check that it agrees in the end."""
    random.seed(seed)
    folder = keep or Path(tempfile.mkdtemp(prefix="fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = live(folder, boards, seconds)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(json.dumps(result, indent=2))
    sys.exit(0 if result["agrees"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
