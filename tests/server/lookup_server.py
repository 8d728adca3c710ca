"""A server of codes as a real process, a gallery for it, and what its answers must be."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.position import Position
from tests.support.processes import ROOT
from tests.support.web import Answer


class LookupServer:
    """`edge-runtime serve ARGUMENTS`, on any free port."""

    def __init__(self, *arguments: object) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime", "serve", "--port", "0", *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.log_lines: list[str] = []
        assert self.child.stderr
        for line in self.child.stderr:
            self.log_lines.append(line)
            if " at http" in line:
                self.url = line.rpartition(" at ")[2].strip().rstrip("/")
                break
        else:
            raise AssertionError(f"no server: {self.log_lines}")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stderr
        self.log_lines.extend(self.child.stderr)

    def ask(self, method: str, path: str, body: Any = None, /, **headers: str) -> Answer:
        """Send a request; a `body` that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def end(self) -> int:
        """Stop the server and return its exit code."""
        self.child.terminate()
        try:
            code = self.child.wait(20)
        finally:
            self.child.kill()
        self._reader.join()
        assert self.child.stderr
        self.child.stderr.close()
        return code


def fill_gallery(
    path: Path, pictures: int, *, seed: int = 0, views: int = 3, spread: int = 12
) -> None:
    """Make a gallery of clustered codes, with positions of some pictures and many equal codes."""
    rng = np.random.default_rng(seed)
    centers = rng.integers(0, 1 << 63, max(1, pictures // 20), dtype=np.uint64)
    listed = []
    for number in range(pictures):
        label = int(rng.integers(len(centers)))
        digest = number.to_bytes(32, "big")
        position = None
        if rng.random() < 0.7:
            position = Position(*rng.normal((48.0, 11.0), 0.01).tolist())
        for view in range(views):
            flips = rng.integers(0, 64, rng.integers(0, spread), dtype=np.uint64)
            code = centers[label] ^ np.bitwise_or.reduce(np.uint64(1) << flips, initial=0)
            listed.append(
                LabeledCode(
                    f"label {label}",
                    np.array([code], np.uint64),
                    digest=view_digest(digest, view),
                    position=position,
                )
            )
    with Gallery(path, FakeEngine().model, create=True) as gallery:
        gallery.enroll(listed)


def some_codes(path: Path, count: int, seed: int = 1) -> NDArray[np.uint64]:
    """Codes near enrolled ones, and some far from all, [count, 1]."""
    rng = np.random.default_rng(seed)
    with Gallery(path, read_only=True) as gallery:
        codes = gallery.snapshot().columns().codes
    chosen = codes[rng.integers(0, len(codes), count)]
    flips = rng.integers(0, 64, (count, 6), dtype=np.uint64)
    near = chosen ^ np.bitwise_or.reduce(np.uint64(1) << flips, axis=1)[:, np.newaxis]
    far = rng.integers(0, 1 << 63, (count, 1), dtype=np.uint64)
    return np.asarray(np.where(rng.random((count, 1)) < 0.8, near, far), np.uint64)


def brute_force(
    path: Path, code: int, k: int, radius: int = 64, at: tuple[float, float] | None = None
) -> list[tuple[int, int]]:
    """The k nearest pictures as (id of the nearest code, distance), by sorting everything."""
    with Gallery(path, read_only=True) as gallery:
        content = gallery.content()
        columns = gallery.snapshot().columns()
    pictures = columns.ids if columns.pictures is None else columns.pictures
    best: dict[int, tuple[float, int, int]] = {}
    for (item, labeled), picture in zip(content.codes, pictures.tolist(), strict=True):
        distance = (int(labeled.code[0]) ^ code).bit_count()
        if distance > radius:
            continue
        score = float(distance)
        if at is not None and labeled.position is not None:
            score += max(meters(at, labeled.position) - 10.0, 0.0) / 25.0
        best[picture] = min(best.get(picture, (1e9, 0, 0)), (score, item, distance))
    return [(item, distance) for _, item, distance in sorted(best.values())[:k]]


def meters(at: tuple[float, float], position: Position) -> float:
    """The distance on a sphere, by the law of cosines of the chord."""
    ends = []
    for latitude, longitude in (at, (position.latitude, position.longitude)):
        phi, lam = np.radians(latitude), np.radians(longitude)
        ends.append(np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]))
    chord = float(np.linalg.norm(ends[0] - ends[1]))
    return float(2 * 6_371_008.8 * np.arcsin(chord / 2))


def hex_of(code: NDArray[np.uint64]) -> str:
    return code.astype("<u8").tobytes().hex()
