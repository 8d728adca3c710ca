"""One board as a process: it follows its fleet as `edge-runtime fleet follow`, and enrolls."""

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
from edge_runtime.fleet.service import Service
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest

log = logging.getLogger(__name__)

MODEL = FakeEngine().model
VIEWS = 6
LABELS = 12
EVERY_S = 1.5
"""Mean seconds between two enrollments."""
RESEND_S, TICK_S, LONGEST_S = 5.0, 0.3, 3.0
"""In use these are a day, two seconds and an hour."""


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


def enroll_until(gallery: Path, journal: Path, end: float) -> None:
    """Enroll pictures, and note the digest of each in `journal` once it is committed."""
    while time.time() < end:
        time.sleep(random.expovariate(1 / EVERY_S))
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


def main() -> None:
    """Run the board in the folder that the command names, until it is killed."""
    folder, end = Path(sys.argv[1]), float(sys.argv[2])
    service.RESEND_S, service.TICK_S, service.LONGEST_S = RESEND_S, TICK_S, LONGEST_S
    gallery = folder / "gallery.sqlite"
    work = (gallery, folder / "enrolled.txt", end)
    threading.Thread(target=enroll_until, args=work, daemon=True).start()
    Service(gallery, 1.5).run(threading.Event())


if __name__ == "__main__":
    main()
