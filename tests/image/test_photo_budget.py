"""No photo takes more memory or time than its budget, however small its file is."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from edge_runtime.errors import PhotoError, ResourceError
from edge_runtime.image import Image, limited
from edge_runtime.image.decode import decode_photo, reduction_of
from edge_runtime.image.header import MAX_DECODE_BYTES, MAX_PIXELS, check_budget, read_header
from edge_runtime.system.cgroup import free_memory
from tests.image.control_group import killed, memory_group
from tests.image.tiff_writer import tiff
from tests.support.processes import ROOT

_READ_ALL = """
import os, resource, sys
from pathlib import Path
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.image.decode import decode_photo
if len(sys.argv) > 2:
    Path(sys.argv[2], "cgroup.procs").write_text(str(os.getpid()))
else:
    status = Path("/proc/self/status").read_text()
    used = int(status.partition("VmData:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + (400 << 20), resource.RLIM_INFINITY))
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        ended = str(decode_photo(path.read_bytes()).shape)
    except EdgeRuntimeError as error:
        ended = f"{type(error).__name__}: {error}"
    print(path.name, ended, sep=": ")
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print("peak", peak // 1024)
"""


def _jpeg(image: Image, **options: object) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(image[..., ::-1]).save(out, "JPEG", **options)
    return out.getvalue()


def _sized(jpeg: bytes, width: int, height: int) -> bytes:
    """Return `jpeg` with another size in its frame header."""
    at = max(jpeg.find(b"\xff\xc2\0\x11"), jpeg.find(b"\xff\xc0\0\x11"))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def _png(width: int, height: int, color: int, *, text_mb: int = 0) -> bytes:
    """Return a plain PNG of 8 bits per channel; color 2: RGB, 6: RGBA."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    packer = zlib.compressobj(1)
    row = bytes(1 + width * (4 if color == 6 else 3))
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7 << 20))) * (text_mb // 7)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _webp(width: int, height: int, *, alpha: bool) -> bytes:
    """Return the header of a lossless WebP of this size, without data."""
    bits = (width - 1) | (height - 1) << 14 | alpha << 28
    content = b"\x2f" + bits.to_bytes(4, "little") + bytes(40)
    chunk = b"VP8L" + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.fixture(scope="module")
def bombs(cat: Image) -> dict[str, tuple[bytes, str]]:
    """Files, and a part of what becomes of each."""
    small = cat[:64, :64]
    progressive = _jpeg(small, progressive=True)
    last = progressive.rindex(b"\xff\xda")
    scans = progressive[:-2] + progressive[last:-2] * 200 + b"\xff\xd9"
    huge_tiff = tiff(np.zeros((64, 64, 3), np.uint8), {256: 20_000, 257: 20_000})
    strips = tiff(np.zeros((64, 64, 3), np.uint8), {322: 60_000, 323: 60_000})
    return {
        "progressive.jpg": (_sized(progressive, 20_000, 20_000), "too large to decode"),
        "half-progressive.jpg": (_sized(progressive, 8_000, 8_000), "nearly all"),
        "baseline.jpg": (_sized(_jpeg(small), 60_000, 60_000), "nearly all"),
        "scans.jpg": (scans, "more than 32 scans"),
        "alpha.webp": (_webp(16_384, 16_384, alpha=True), "too large to decode"),
        "smaller-alpha.webp": (_webp(8_000, 8_000, alpha=True), "MiB of memory"),
        "rgba.png": (_png(8_000, 8_000, 6), "MiB of memory"),
        "rgba-36.png": (_png(6_000, 6_000, 6), "(6000, 6000, 3)"),
        "texts.png": (_png(640, 480, 2, text_mb=700), "(480, 640, 3)"),
        "size.tif": (huge_tiff, "too large to decode"),
        "tile.tif": (strips, "not supported"),
    }


def test_bombs_stay_within_400_mb(bombs: dict[str, tuple[bytes, str]], tmp_path: Path) -> None:
    for name, (data, _) in bombs.items():
        assert len(data) < 6_000_000, name
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _READ_ALL, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ended = dict(line.split(": ", 1) for line in done.stdout.splitlines()[:-1])
    for name, (_, part) in bombs.items():
        assert part in ended[name], name
    assert int(done.stdout.split()[-1]) < 520  # 36 megapixels with alpha: 308 MiB
    assert done.stderr == ""


def test_a_progressive_jpeg_of_a_phone_is_decoded() -> None:
    image = np.full((3000, 4000, 3), 90, np.uint8)
    assert decode_photo(_jpeg(image, progressive=True)).shape == (750, 1000, 3)


def test_max_megapixels_applies_to_every_format(cat: Image) -> None:
    """A JPEG counts at its reduced size, unless all of its pixels are needed at once."""
    jpeg = _sized(_jpeg(cat), 6_000, 4_000)
    progressive = _sized(_jpeg(cat, progressive=True), 6_000, 4_000)
    accepted = {
        "JPEG": jpeg,
        "PNG": _png(400, 300, 6),
    }
    refused = {
        "progressive": progressive,
        "PNG": _png(6_000, 400, 2),
        "WebP": _webp(1500, 1500, alpha=False),
        "BMP": b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, 1500, -1500, 1, 24, 0) + bytes(60),
        "TIFF": tiff(np.zeros((64, 64, 3), np.uint8), {256: 1500, 257: 1500}),
    }
    for name, data in accepted.items():
        header = read_header(data, "")
        check_budget(header, reduction_of(header), name, most_pixels=2e6)
    for name, data in refused.items():
        header = read_header(data, "")
        with pytest.raises(PhotoError, match="at most 2 megapixels"):
            check_budget(header, reduction_of(header), name, most_pixels=2e6)


def test_bombs_do_not_end_a_process_in_a_control_group_of_400_mb(
    bombs: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    for name, (data, _) in bombs.items():
        (tmp_path / name).write_bytes(data)
    with memory_group(400_000_000) as group:
        done = subprocess.run(
            [sys.executable, "-c", _READ_ALL, str(tmp_path), str(group)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert killed(group) == 0
    assert (done.returncode, done.stderr) == (0, "")
    ended = dict(line.split(": ", 1) for line in done.stdout.splitlines()[:-1])
    for name, (_, part) in bombs.items():
        assert part in ended[name] or "too little memory" in ended[name], name


def test_an_opaque_photo_may_have_67_megapixels() -> None:
    header = read_header(_png(64, 64, 2), "")._replace(width=1 << 13, height=1 << 13)
    assert header.width * header.height == MAX_PIXELS
    assert header.decode_bytes(1) <= MAX_DECODE_BYTES
    check_budget(header, 1, "")


def test_too_little_memory_is_not_damage(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(4000, 4000, 2))
    script = _READ_ALL.replace("400 << 20", "40 << 20")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert "ResourceError: photo: too little memory" in done.stdout, done.stderr


def _group(folder: Path, limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\nactive_file 7\n")


def test_the_limit_of_a_service_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("0::/system.slice/edge.service\n")
    assert free_memory(groups, tmp_path / "mount") is None
    _group(tmp_path / "mount" / "system.slice" / "edge.service", "max", 500, 0)
    assert free_memory(groups, tmp_path / "mount") is None
    _group(tmp_path / "mount" / "system.slice", "1000", 600, 200)
    assert free_memory(groups, tmp_path / "mount") == 607
    monkeypatch.setattr("edge_runtime.image.decode.free_memory", lambda: 50 << 20)
    with pytest.raises(ResourceError, match="decoding takes 97 MiB, and 50 are free"):
        decode_photo(_png(4000, 4000, 2))


def test_the_child_ends_and_starts_again() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    photo = tiff(image)
    assert (decode_photo(photo) == image).all()
    child = limited._child
    assert child
    child._process.kill()
    child._process.wait()
    with pytest.raises(PhotoError, match="damaged TIFF"):  # as if the photo had ended it
        decode_photo(photo)
    assert (decode_photo(photo) == image).all()
    assert limited._child
    limited._child._socket.shutdown(2)  # as if it had been idle for too long
    assert (decode_photo(photo) == image).all()


def test_the_child_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIFF that takes more than its header announces, and one that takes too long."""
    out = io.BytesIO()
    Pillow.new("RGB", (6000, 6000)).save(out, "TIFF", compression="tiff_lzw")
    photo = out.getvalue()
    monkeypatch.setattr(limited, "_RESERVE", 0)
    with pytest.raises(PhotoError, match="takes more than 4 MiB of memory"):
        limited.decode_limited(photo, 4 << 20, "photo")
    monkeypatch.setattr(limited, "WALL_LIMIT_S", 0.0)
    with pytest.raises(PhotoError, match="does not end within 0 s"):
        limited.decode_limited(photo, 1 << 28, "photo")
    monkeypatch.undo()
    assert limited.decode_limited(photo, 1 << 28, "photo") is not None


def test_threads_and_forks_share_one_child() -> None:
    rng = np.random.default_rng(20)
    images = [rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(8)]
    results: dict[int, bool] = {}

    def check(number: int) -> None:
        decoded = decode_photo(tiff(images[number]))
        results[number] = bool((decoded[..., ::-1] == images[number]).all())

    threads = [threading.Thread(target=check, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(8), True)
    script = (
        "import os, sys; import numpy as np; from tests.image.tiff_writer import tiff\n"
        "from edge_runtime.image.decode import decode_photo\n"
        "photo = tiff(np.zeros((40, 40, 3), np.uint8)); decode_photo(photo); pid = os.fork()\n"
        "decode_photo(photo)\n"
        "if not pid: os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0; decode_photo(photo)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, env=os.environ)
