"""Read the sound of a clip: a WAV file by the standard library, everything else by ffmpeg.

The FFmpeg inside OpenCV's wheels gives no sound: its backend for files ignores audio tracks, and
only the backends of Windows and GStreamer read them. A Python package with a decoder would be tens
of megabytes on the board for a part that few use. So an installed `ffmpeg` is started, as a process
with limits, and a file NAME.wav beside the clip is read without it.
"""

from __future__ import annotations

import shutil
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.sound.fingerprint import RATE, Samples

MOST_S = 30.0
"""Seconds of a clip's sound that are used."""
DECODE_S = 20.0
"""Seconds after which ffmpeg is ended."""
MOST_WAV_RATE = 192_000


@dataclass(frozen=True, eq=False)
class Sound:
    """The sound of a clip, or why there is none."""

    samples: Samples | None
    """None if it cannot be used."""
    note: str = ""
    """Why it cannot be used, and what to do about it; empty if the clip simply has no sound."""


def read_sound(clip: Path, *, alone: bool = False) -> Sound:
    """Return the first seconds of the sound of `clip`, which may be a WAV file itself.

    A file of the same name that ends in .wav goes before the clip's own track, unless the clip is
    `alone`. Never raises for what is in the files.
    """
    beside = clip if clip.suffix.lower() == ".wav" else clip.with_suffix(".wav")
    if not alone and beside.is_file():
        return _read_wav(beside)
    program = shutil.which("ffmpeg")
    if program is None:
        other = "" if alone else f", or put the sound into {beside.name}"
        missing = f"its sound is not used: ffmpeg is not installed (install it{other})"
        return Sound(None, missing)
    return _by_ffmpeg(program, clip)


def _read_wav(path: Path) -> Sound:
    try:
        with path.open("rb") as opened, wave.open(opened) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            if not (RATE // 2 <= rate <= MOST_WAV_RATE and width in (1, 2, 4) and channels <= 8):
                raise wave.Error(f"{rate} Hz, {8 * width} bits and {channels} channels")
            data = file.readframes(int(MOST_S * rate))
    except (wave.Error, EOFError, OSError) as error:
        return Sound(None, f"{path.name} is not used: {error} (write 16-bit PCM)")
    kind = {1: "u1", 2: "<i2", 4: "<i4"}[width]
    whole = len(data) - len(data) % (width * channels)
    values: Samples = np.frombuffer(data[:whole], kind).astype(np.float32)
    values -= 128 if width == 1 else 0
    values /= 2 ** (8 * width - 1)
    mono: Samples = values.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return Sound(resampled(mono, rate) if len(mono) else None)


def resampled(samples: Samples, rate: int) -> Samples:
    """Return mono sound at `rate` (Hz) at `RATE`, without what `RATE` cannot represent."""
    if rate == RATE or not len(samples):
        return samples
    taps = 2 * max(8 * rate // RATE, 8) + 1
    reach = np.arange(taps) - taps // 2
    cutoff = min(0.45 * RATE / rate, 0.5)
    kernel = 2 * cutoff * np.sinc(2 * cutoff * reach) * np.hanning(taps)
    smooth = np.convolve(samples, kernel / kernel.sum(), mode="same")
    times = np.arange(int(len(samples) * RATE / rate)) * (rate / RATE)
    found: Samples = np.interp(times, np.arange(len(smooth)), smooth).astype(np.float32)
    return found


def _by_ffmpeg(program: str, clip: Path) -> Sound:
    command = [
        *(program, "-nostdin", "-v", "error", "-threads", "1"),
        *("-protocol_whitelist", "file,pipe"),  # a playlist must not make it fetch anything
        *("-i", f"file:{clip.absolute()}", "-map", "a:0?", "-vn", "-sn", "-dn"),
        *("-t", f"{MOST_S:g}", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"),
    ]
    most = int(MOST_S * RATE * 2) + 2 * RATE
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DECODE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Sound(None, f"its sound is not used: ffmpeg took more than {DECODE_S:g} s")
    except OSError as error:
        return Sound(None, f"its sound is not used: ffmpeg cannot be started: {error.strerror}")
    data = done.stdout[:most]
    values: Samples = np.frombuffer(data[: len(data) - len(data) % 2], "<i2").astype(np.float32)
    values /= 32768
    return Sound(values if len(values) else None)
