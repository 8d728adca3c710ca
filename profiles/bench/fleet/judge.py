"""What a fleet has in the end, read from the files of its desk and its boards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from edge_runtime.desk.folder import Desk
from edge_runtime.desk.publish import signed_version
from edge_runtime.desk.record import Record
from edge_runtime.fleet.apply import apply_version
from edge_runtime.fleet.content import gallery_digest
from edge_runtime.fleet.follower import board_state
from edge_runtime.fleet.operations import read_version
from edge_runtime.gallery import Gallery
from profiles.bench.fleet.board import ANSWERED, END, ENROLLED, MODEL


def enrolled(boards: Iterable[Path]) -> set[bytes]:
    """Return the digests that boards have committed."""
    found: set[bytes] = set()
    for place in boards:
        journal = place / ENROLLED
        if journal.exists():
            # A kill may have cut the last line.
            found |= {
                bytes.fromhex(line) for line in journal.read_text().split() if len(line) == 64
            }
    return found


def enrolling(boards: Iterable[Path]) -> list[str]:
    """Return the boards that may still enroll something."""
    journals = (place / ENROLLED for place in boards)
    return [
        each.parent.name
        for each in journals
        if not each.exists() or END not in each.read_text().split()
    ]


def answered(boards: Iterable[Path]) -> tuple[int, int]:
    """Return how many queries were answered, and how many failed."""
    text = "".join(
        (place / ANSWERED).read_text() for place in boards if (place / ANSWERED).exists()
    )
    return text.count("+"), text.count("-")


def decided(desk: Desk) -> set[bytes]:
    """Return the digests that a signed version has accepted or rejected."""
    return {each.digest for each in desk.store.proposals(None, bodies=False) if each.version}


def behind(desk: Desk, boards: dict[str, Path]) -> list[str]:
    """Return the boards that have another version, or pictures without a decision."""
    version = signed_version(desk.repository())
    found = []
    for name, place in boards.items():
        state = board_state(place / "gallery.sqlite")
        if state.version != version or state.pending:
            found.append(name)
    return found


def contents(boards: Iterable[Path]) -> Counter[str]:
    """Return the digests of the boards' contents, with the number of boards of each."""
    found: Counter[str] = Counter()
    for place in boards:
        with Gallery(place / "gallery.sqlite", read_only=True) as gallery:
            found[gallery_digest(gallery)] += 1
    return found


def replay(desk: Desk, gallery: Path) -> str:
    """Apply every version that the desk has signed to a new gallery; return its content's digest.

    Version 1 is a full file, and each other one a delta: what a board does that misses none of
    them. Each must lead to the content that its head states. Raises `FleetError`.
    """
    record = Record(desk.published)
    with Gallery(gallery, MODEL, create=True) as opened:
        for number in range(1, signed_version(desk.repository()) + 1):
            path = record.full(1) if number == 1 else record.delta(number)
            with path.open("rb") as file:
                apply_version(opened, *read_version(file))
        return gallery_digest(opened)
