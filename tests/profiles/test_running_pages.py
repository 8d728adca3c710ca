"""The sections of the performance page about a running daemon."""

from __future__ import annotations

from pathlib import Path

from profiles.bench.running.memory import CASES
from profiles.pages.running import cameras, first_paint, memory

DEVICE = {"machine": "x86_64", "cpu": "a CPU"}


def test_cameras_are_compared_with_the_hashes_alone() -> None:
    title, text, table = cameras(
        {
            "device": DEVICE,
            "cameras": 3,
            "fps": 5,
            "hash_cpu_ms": 10.0,
            "hash_without_pause_cpu_ms": 9.5,
            "cpu_ms_per_frame": {"1": 11.5, "3": 10.9},
            "bars": {
                "times_the_hashes": {"figure": 1.09, "bar": 1.1},
                "times_one_camera": {"figure": 0.948, "bar": 1.1},
            },
        },
        Path("cameras-x86_64.json"),
    )
    assert title == "## Several cameras, x86_64"
    assert "A frame takes 10.90 ms of CPU time, and with one camera 11.50 ms." in text
    assert "[report](../../profiles/reports/cameras-x86_64.json)" in text
    assert "| CPU time of a frame / that of its hash | 1.09 | 1.1 |" in table


def test_memory_is_listed_by_daemon() -> None:
    *_, text, table = memory(
        {
            "device": DEVICE,
            "seconds": 60.0,
            "film_mb": 7.25,
            "runs": [
                {
                    "name": case.name,
                    "camera": case.camera,
                    "cameras": case.cameras,
                    "rss_mb": 118.04,
                    "most_rss_mb": 118.5,
                    "threads": 4,
                }
                for case in CASES
            ],
            "bars": {"engine alone": {"figure": 118.5, "bar": 130.0}},
        },
        Path("memory-x86_64.json"),
    )
    assert "A film of 640 x 480 takes 7.2 MB more" in text
    assert "| engine alone | 1 x raw pictures | 118.0 | 118.5 | 130.0 | 4 |" in table
    assert "| all options, films | 2 x film | 118.0 | 118.5 | - | 4 |" in table


def test_the_first_paint_is_called_an_emulation() -> None:
    _, text = first_paint(
        {
            "device": DEVICE,
            "factor": 10.0,
            "throttled": {"paint_ms": 640.4},
            "unthrottled": {"paint_ms": 90.0},
            "bars": {"first_paint_ms": {"figure": 640.4, "bar": 1000.0}},
        },
        Path("first_paint-x86_64.json"),
    )
    assert "after 640 ms (target: 1000 ms), and 90 ms without throttling" in text
    assert "no board was used" in text
