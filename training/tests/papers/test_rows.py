"""Result files of the papers: checked rows, durable finished runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import ReportError, StorageError
from training.papers.files import FinishedRuns
from training.papers.rows import Row, Table, read_table, write_table

ROW = Row(
    system="DPSH",
    source="Li et al. 2016, IJCAI",
    setting="12 bits",
    measure="MAP (%)",
    published=71.3,
    published_on="CIFAR-10, split I, VGG-F",
    values=(70.0, 71.0, 72.0),
    differs="MobileNet-v1 instead of VGG-F.",
    extra={"bytes_per_query": 2, "backbone": "MobileNet-v1"},
)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = Table(command="python -m training papers x", data="a set", rows=(ROW,), notes=("n",))
    found = read_table(write_table("x", table, tmp_path))
    assert found.rows[0].system == "DPSH" and found.notes == ["n"]
    assert (found.rows[0].mean, found.rows[0].spread) == (71.0, 1.0)
    assert write_table("x", found, tmp_path).read_bytes() == (tmp_path / "x.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"values": ()}, "either values or the reason"),
        ({"missing": "no weights"}, "either values or the reason"),
        ({"values": (1.0,)}, "1 of 3 seeds (set one_seed_reason)"),
        ({"values": (1.0, 2.0, float("nan"))}, "not a finite number"),
        ({"extra": {"bytes": float("inf")}}, "not a finite number"),
        ({"published_on": ""}, "published_on is empty"),
        ({"differs": ""}, "differs is empty"),
        ({"source": ""}, '"source" is empty'),
    ],
)
def test_a_contradictory_row_is_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ReportError) as caught:
        replace(ROW, **change)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not readable"),
        ("[]", "not a JSON object"),
        ('{"command": "c", "data": "d"}', "not a table"),
        ('{"command": "c", "data": "d", "rows": [{"sistem": "x"}]}', 'unknown key "sistem"'),
        ('{"command": "c", "data": "d", "rows": [{"system": "x"}]}', "not a table"),
        ('{"command": "", "data": "d", "rows": []}', '"command" is empty'),
    ],
)
def test_a_file_that_is_not_a_table_is_one_line(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ReportError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ") and fault in str(caught.value)


def test_finished_runs_are_found_by_all_their_settings(tmp_path: Path) -> None:
    runs = FinishedRuns(tmp_path / "new" / "runs.jsonl")
    runs.add({"method": "dh", "bits": 12, "seed": 1}, {"map": 0.1})
    again = FinishedRuns(tmp_path / "new" / "runs.jsonl")
    for each in (runs, again):
        assert each.find({"seed": 1, "method": "dh", "bits": 12}) == {"map": 0.1}
        assert each.find({"method": "dh", "bits": 24, "seed": 1}) is None


def test_an_unfinished_line_is_removed_and_a_foreign_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    FinishedRuns(path).add({"a": 1}, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": {"a"')
    FinishedRuns(path).add({"a": 2}, 3)
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()] == [2, 3]
    path.write_bytes(b"hello\n")
    with pytest.raises(StorageError, match="not a finished run"):
        FinishedRuns(path)


def test_runs_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    code = (
        "import sys; from pathlib import Path; from training.papers.files import FinishedRuns\n"
        "runs = FinishedRuns(Path(sys.argv[1]))\n"
        "for seed in range(10**6): runs.add({'seed': seed}, seed); print(seed, flush=True)"
    )
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(20):
            last = int(process.stdout.readline())
        time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    found = FinishedRuns(path)
    assert [found.find({"seed": seed}) for seed in range(last + 1)] == list(range(last + 1))
