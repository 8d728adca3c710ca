"""Cameras for the benchmarks: programs and servers that cost the daemon nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from demo.scenes import read_scene
from edge_runtime.image import Image
from profiles.bench.support.gate_costs import QUALITY
from profiles.bench.support.harness import add_noise

SIZE = (640, 480)
"""Width and height of all pictures."""
RPICAM = """#!{python}
import sys, time
data = open({frames!r}, "rb").read()
size = {width} * {height} * 3 // 2
due = time.monotonic()
while True:
    for at in range(0, len(data), size):
        sys.stdout.buffer.write(data[at : at + size])
        sys.stdout.buffer.flush()
        due += 1 / {fps}
        time.sleep(max(0, due - time.monotonic()))
"""
"""A camera program that delivers raw pictures in turn, as `rpicam-vid` does."""


def noisy(names: Sequence[str], each: int) -> list[Image]:
    """Return `each` pictures (480 x 640 x 3) of each scene, with sensor noise."""
    generator = np.random.default_rng(1)
    photos = [np.asarray(cv2.resize(read_scene(name), SIZE), np.uint8) for name in names]
    return [add_noise(photo, generator) for photo in photos for _ in range(each)]


def install_rpicam(folder: Path, frames: Sequence[Image], fps: float) -> None:
    """Write a program `rpicam-vid` to `folder` that films `frames` again and again."""
    raw = folder / "frames.i420"
    raw.write_bytes(
        b"".join(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes() for frame in frames)
    )
    program = folder / "rpicam-vid"
    program.write_text(
        RPICAM.format(
            python=sys.executable, frames=str(raw), width=SIZE[0], height=SIZE[1], fps=fps
        )
    )
    program.chmod(0o755)


@contextmanager
def network_camera(pictures: Sequence[bytes], fps: float) -> Iterator[str]:
    """Serve JPEGs in turn as an IP camera does; yields the address of the stream."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            due_s = time.monotonic()
            try:
                for number in range(1_000_000):
                    data = pictures[number % len(pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                    due_s += 1 / fps
                    time.sleep(max(0.0, due_s - time.monotonic()))
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
    finally:
        server.shutdown()
        server.server_close()


def jpegs(frames: Sequence[Image]) -> list[bytes]:
    """Return `frames` as a camera encodes them."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return [cv2.imencode(".jpg", frame, quality)[1].tobytes() for frame in frames]
