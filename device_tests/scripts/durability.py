"""Kill a process while it fills a gallery, and check that no acknowledged code is lost.

python durability.py GALLERY BUNDLE KILLS
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edge_runtime.bundle import open_bundle
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.maintenance import verify

WRITER = """
import os, sys
from pathlib import Path
import numpy as np
from edge_runtime.bundle import open_bundle
from edge_runtime.gallery import Gallery, LabeledCode
generator = np.random.default_rng(int(sys.argv[3]))
with Gallery(Path(sys.argv[1]), open_bundle(Path(sys.argv[2])).model, create=True) as gallery:
    while True:
        codes = generator.integers(0, 2**63, (int(generator.integers(1, 30)), 1), np.uint64)
        ids = gallery.enroll([LabeledCode("cat", code) for code in codes])
        lines = (f"{i} {int(code[0])}\\n" for i, code in zip(ids, codes))
        os.write(1, "".join(lines).encode())  # acknowledges the codes
"""


def main() -> None:
    """Fill, kill, and compare the gallery with the acknowledged codes."""
    path, bundle, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    generator, acknowledged = random.Random(7), {}
    for kill in range(kills):
        command = [sys.executable, "-c", WRITER, str(path), bundle, str(kill)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout
        lines = [child.stdout.readline() for _ in range(generator.randrange(1, 100))]
        time.sleep(generator.random() * 0.01)  # kill at a random moment
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        for line in lines:
            number, code = line.split()
            acknowledged[int(number)] = int(code)
    with Gallery(path, open_bundle(Path(bundle)).model, read_only=True) as gallery:
        query = np.array([0], np.uint64)
        stored = {match.id: match.distance for match in gallery.search(query, 10**6)}
    wrong = [n for n, code in acknowledged.items() if stored.get(n) != code.bit_count()]
    outcome = {
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "lost_or_wrong": wrong,
        "problems": [str(problem) for problem in verify(path)],
    }
    sys.stdout.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main()
