"""Fingerprints of sound, and the search for the same recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edge_runtime.sound.decode import read_sound, resampled
from edge_runtime.sound.fingerprint import BITS, FRAME, HOP, PER_SECOND, RATE, fingerprints
from edge_runtime.sound.match import LEAST_COMPARED, STEP, best_alignment, find_sounds
from tests.support.media.sounds import sound_of

ALSA = Path("/usr/share/sounds/alsa")


def test_one_fingerprint_per_hop() -> None:
    found = fingerprints(sound_of(1, 3.0))
    assert found.dtype == np.uint32
    assert len(found) == (3 * RATE // 5 * 5 - FRAME) // HOP
    assert len(np.unique(found)) > len(found) / 2


def test_too_short_and_silent_sounds_have_none() -> None:
    assert not len(fingerprints(np.zeros(0, np.float32)))
    assert not len(fingerprints(np.zeros(FRAME, np.float32)))
    assert not fingerprints(np.zeros(3 * RATE, np.float32)).any()
    hiss = np.random.default_rng(1).normal(0, 1e-4, 3 * RATE).astype(np.float32)
    assert not fingerprints(hiss).any()


def test_the_loudness_does_not_matter() -> None:
    sound = sound_of(2)
    same = fingerprints(sound) == fingerprints(0.25 * sound)
    assert same.mean() > 0.99


@given(st.integers(0, 5000), st.integers(1, 400), st.integers(0, 400))
@hypothesis_settings(max_examples=30)
def test_the_best_alignment_is_that_of_brute_force(seed: int, length: int, other: int) -> None:
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 2**32, other, dtype=np.uint32)
    query = rng.integers(0, 2**32, length, dtype=np.uint32)
    if other > 50 and length > 120:  # a part of it is the same
        query[40:120] = np.resize(stored, 80)
    query[rng.random(length) < 0.2] = 0
    found = best_alignment(query, stored)
    best = None
    places = [place for place in range(0, length, STEP) if query[place]]
    for offset in range(-length, other):
        pairs = [
            (int(query[place]), int(stored[place + offset]))
            for place in places
            if 0 <= place + offset < other and stored[place + offset]
        ]
        if len(pairs) < LEAST_COMPARED:
            continue
        rate = sum((a ^ b).bit_count() for a, b in pairs) / (BITS * len(pairs))
        z = (0.5 - rate) * 2 * np.sqrt(BITS * len(pairs)) / 1.5
        if best is None or z > best[1] + 1e-9:
            best = (rate, z)
    if best is None:
        assert found is None
    else:
        assert found is not None
        assert found[:2] == pytest.approx(best)


def test_a_recording_is_found_in_noise_and_no_other_is() -> None:
    stored = [fingerprints(sound_of(seed, 6.0)) for seed in range(12)]
    rng = np.random.default_rng(7)
    for seed in range(15):  # the last three are not stored
        clean = sound_of(seed, 6.0)[RATE // 7 :]
        noise = rng.normal(size=len(clean)) * np.sqrt((clean**2).mean() / 10)  # 10 dB
        matches = find_sounds(fingerprints((clean + noise).astype(np.float32)), stored)
        assert [match.index for match in matches if match.same] == ([seed] if seed < 12 else [])
        if seed < 12:
            assert matches[0].offset_s == pytest.approx(1 / 7, abs=2 / PER_SECOND)


def test_a_part_is_found_in_the_whole_and_the_whole_in_a_part() -> None:
    sound = sound_of(3, 8.0)
    whole, part = fingerprints(sound), fingerprints(sound[3 * RATE : 6 * RATE])
    assert find_sounds(part, [whole])[0].same
    assert find_sounds(whole, [part])[0].same
    assert find_sounds(whole, [part])[0].offset_s == pytest.approx(-3, abs=0.05)


def test_resampling_keeps_the_sound_and_removes_what_is_too_high() -> None:
    times = np.arange(44100) / 44100
    low = np.sin(2 * np.pi * 500 * times).astype(np.float32)
    high = np.sin(2 * np.pi * 5000 * times).astype(np.float32)
    middle = slice(500, 5000)
    assert np.sqrt((resampled(low, 44100)[middle] ** 2).mean()) == pytest.approx(0.707, abs=0.02)
    assert np.sqrt((resampled(high, 44100)[middle] ** 2).mean()) < 0.02


@pytest.mark.skipif(not ALSA.is_dir(), reason="the recordings of alsa-utils are not installed")
def test_real_speech_is_told_apart() -> None:
    """Two recordings of alsa-utils in a row: one of them has just a second that is not silent."""
    pairs = [
        ("Front_Left", "Front_Right"),
        ("Rear_Right", "Side_Left"),
        ("Side_Right", "Rear_Center"),
    ]
    spoken = []
    for pair in pairs:
        parts = [read_sound(ALSA / f"{name}.wav").samples for name in pair]
        spoken.append(np.concatenate([part for part in parts if part is not None]))
    stored = [fingerprints(each) for each in spoken]
    for index, each in enumerate(spoken):
        found = find_sounds(fingerprints(each[300:]), stored)
        assert found[0].index == index
        assert [match.index for match in found if match.same] == [index]
