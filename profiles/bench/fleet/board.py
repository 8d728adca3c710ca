"""One board as a process: it follows its fleet as `edge-runtime fleet follow`.

It also enrolls pictures, and recognizes: it asks its gallery for the nearest picture.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.fleet import service
from edge_runtime.fleet.following import fetching, link
from edge_runtime.fleet.service import Service
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest

log = logging.getLogger(__name__)

MODEL = FakeEngine().model
VIEWS = 6
LABELS = 12
EVERY_S = 1.5
"""Mean seconds between two enrollments."""
ASK_S = 1.0
"""Seconds between two queries."""
ENROLLED, ANSWERED = "enrolled.txt", "answered.txt"
END = "end"
"""In the journal: nothing more is enrolled."""
RESEND_S, TICK_S, LONGEST_S, KEEPALIVE_S, GAP_S = 5.0, 0.3, 3.0, 5, 3
"""In use these are a day, two seconds, an hour, a minute and 20 seconds."""


def random_picture() -> list[LabeledCode]:
    """Return the codes of a picture that no other board has."""
    label = f"place {random.randrange(LABELS):02d}"
    digest = hashlib.sha256(os.urandom(16)).digest()
    return [
        LabeledCode(
            label,
            np.frombuffer(os.urandom(8), np.uint64),
            "photo.jpg",
            view_digest(digest, view),
        )
        for view in range(VIEWS)
    ]


def enroll_until(gallery: Path, journal: Path, calm: Path) -> None:
    """Enroll until the file `calm` exists; note each digest in `journal` once it is committed."""
    while True:
        time.sleep(random.expovariate(1 / EVERY_S))
        if calm.exists():
            break
        codes = random_picture()
        try:
            with Gallery(gallery) as opened:
                opened.enroll(codes)
        except EdgeRuntimeError as error:
            log.warning("%s", error)
            continue
        with journal.open("a") as file:
            digest = codes[0].digest
            assert digest is not None
            file.write(f"{digest.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
    with journal.open("a") as file:
        file.write(f"{END}\n")


def ask_for_ever(gallery: Path, journal: Path) -> None:
    """Ask for the nearest picture, and note "+" for each answer and "-" for each failure."""
    with Gallery(gallery, read_only=True) as opened, journal.open("a") as file:
        while True:
            code = np.frombuffer(os.urandom(8), np.uint64)
            try:
                opened.search(code, 1)
            except EdgeRuntimeError as error:
                log.warning("query: %s", error)
                file.write("-")
            else:
                file.write("+")
            file.flush()
            time.sleep(ASK_S)


def main() -> None:
    """Run the board in the folder that the command names, until it is killed."""
    folder, calm = Path(sys.argv[1]), Path(sys.argv[2])
    service.RESEND_S, service.TICK_S, service.LONGEST_S = RESEND_S, TICK_S, LONGEST_S
    link.KEEPALIVE_S, fetching.GAP_S = KEEPALIVE_S, GAP_S
    gallery = folder / "gallery.sqlite"
    for work in (
        (enroll_until, gallery, folder / ENROLLED, calm),
        (ask_for_ever, gallery, folder / ANSWERED),
    ):
        threading.Thread(target=work[0], args=work[1:], daemon=True).start()
    Service(gallery, 1.5, spread_s=1.0).run(threading.Event())


if __name__ == "__main__":
    main()
