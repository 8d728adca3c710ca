"""Every command of the papers continues after SIGKILL: what was finished is not computed again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from training.models.alexnet import AlexNet, save_network
from training.papers.plan import Places, tiny_commands
from training.papers.rows import read_table
from training.papers.small_data import small_sets, stand_in_for_cifar10
from training.papers.times import read_spent
from training.tests.conftest import ROOT, draw_photos
from training.tests.papers.conftest import write_recordings

LIMIT_S = 600
FINISHED = {
    "unlabelled": "unlabelled/runs.jsonl",
    "multi-index": "unlabelled/multi_index.jsonl",
    "handmade": "handmade/runs.jsonl",
    "transmission": "handmade/transmission.jsonl",
    "clips": "clips/done.jsonl",
    "cifar10-search": "cifar10/search.jsonl",
    "cifar10": "cifar10/runs.jsonl",
    "cifar10-unlabelled": "cifar10/unlabelled.jsonl",
    "table3": "table3/runs.jsonl",
    "low-rank-pruned": "low_rank_pruned/runs.jsonl",
    "quantized-cnn": "quantized_cnn/runs.jsonl",
}
"""Verb -> the file of finished runs below --build."""


@pytest.fixture
def commands(weights: Path) -> dict[str, list[str]]:
    """The tiny form of every table, on one drawn set."""
    Path("models").symlink_to(ROOT / "models")
    draw_photos(Path("data/set"), labels=3, each=10)  # two queries each
    (name,) = small_sets(Path("data"), Path("small"))
    cifar10 = stand_in_for_cifar10(Path("small") / name, Path("stand-in"))
    sounds = write_recordings(Path("sounds"), 6)
    torch.manual_seed(1)
    save_network(Path("build/alexnet/alexnet.pt"), AlexNet(0.1, 72, 16))
    places = Places(Path("small"), cifar10, weights, Path("build"), Path("results"), sounds)
    return tiny_commands(places, [name])


def _start(verb: str, options: list[str]) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "training", "papers", verb, *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _kill_when(process: subprocess.Popen[str], file: Path) -> None:
    """Kill the command and its children as soon as `file` has a first byte."""
    limit = time.monotonic() + LIMIT_S
    while not (file.exists() and file.stat().st_size):
        assert process.poll() is None and time.monotonic() < limit, process.communicate()[1]
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def _finish(verb: str, options: list[str]) -> str:
    process = _start(verb, options)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("verb", FINISHED)
def test_a_killed_table_goes_on(verb: str, commands: dict[str, list[str]]) -> None:
    finished = Path("build") / FINISHED[verb]
    _kill_when(_start(verb, commands[verb]), finished)
    before = finished.read_bytes()
    before = before[: before.rfind(b"\n") + 1]  # a line that was not whole does not count
    _finish(verb, commands[verb])
    after = finished.read_bytes()
    assert after.startswith(before) and len(after) > len(before)
    keys = [json.dumps(json.loads(line)["key"]) for line in after.splitlines()]
    assert len(set(keys)) == len(keys)
    table = read_table(Path("results") / f"{verb.replace('-', '_')}.json")
    assert any(row.values for row in table.rows)
    assert read_spent(Path("results/times") / f"{verb}.json").runs == 2


def test_a_killed_training_of_the_alexnet_goes_on(commands: dict[str, list[str]]) -> None:
    out = Path("build/alexnet")
    (out / "alexnet.pt").unlink()
    options = [*commands["alexnet"], "--stages", "72x5"]
    _kill_when(_start("alexnet", options), out / "log.csv")
    assert not (out / "alexnet.pt").exists()
    rows = (out / "log.csv").read_text().splitlines()  # the last one may not be whole
    _finish("alexnet", options)
    again = (out / "log.csv").read_text().splitlines()
    assert (out / "alexnet.pt").exists() and again[: len(rows) - 1] == rows[:-1]
    assert [row.split(",")[0] for row in again[1:]] == ["1", "2", "3", "4", "5"]
    assert read_spent(Path("results/times/alexnet.json")).runs == 2
