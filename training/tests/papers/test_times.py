"""Times of the papers' commands are summed over runs and kept out of the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ReportError
from training.papers.files import FinishedRuns
from training.papers.rows import Row, Table, write_table
from training.papers.times import keep_share, keep_time, read_spent, read_times, timed

ROW = Row("DHN", "Zhu", "12 bits", "MAP (%)", values=(1.0, 2.0, 3.0))


@timed("table3")
def run(*, out: Path, results: Path) -> None:
    """Spend some CPU time, then write a table."""
    runs = FinishedRuns(out / "runs.jsonl")
    runs.add({"seed": 1}, sum(i * i for i in range(300_000)))
    write_table("table3", Table("c", "d", (ROW,)), results)


def test_a_command_sums_its_times_beside_its_table(tmp_path: Path) -> None:
    out, results = tmp_path / "out", tmp_path / "results"
    run(out=out, results=results)
    first, table = read_times(results)["table3"], (results / "table3.json").read_bytes()
    assert first.runs == 1 and first.whole and first.machine.endswith("CPUs")
    run(out=out, results=results)
    second = read_times(results)["table3"]
    assert second.runs == 2 and second.cpu_seconds >= first.cpu_seconds
    assert (results / "table3.json").read_bytes() == table
    assert read_spent(out / "table3.time.json").runs == 2


def test_runs_that_were_not_timed_are_known(tmp_path: Path) -> None:
    FinishedRuns(tmp_path / "runs.jsonl").add({"seed": 2}, 1)
    run(out=tmp_path, results=tmp_path)
    assert not read_times(tmp_path)["table3"].whole


def test_without_a_timed_command_nothing_is_kept(tmp_path: Path) -> None:
    keep_time(tmp_path)
    write_table("table3", Table("c", "d", (ROW,)), tmp_path)
    assert read_times(tmp_path) == {}


@timed("table3")
def interrupted(*, out: Path, results: Path) -> None:
    """Finish one of four runs, as a command that is killed then."""
    keep_share(results, 1, 4)


def test_the_time_of_a_part_is_an_estimate_until_all_is_run(tmp_path: Path) -> None:
    out, results = tmp_path / "out", tmp_path / "results"
    interrupted(out=out, results=results)
    part = read_times(results)["table3"]
    assert part.share == 0.25 and part.cpu_of_all == 4 * part.cpu_seconds
    run(out=out, results=results)
    whole = read_times(results)["table3"]
    assert whole.share == 1 and whole.cpu_of_all == whole.cpu_seconds
    interrupted(out=out, results=results)
    assert read_times(results)["table3"] == whole


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"seconds": 1}')
    with pytest.raises(ReportError, match="not the time of a command"):
        read_spent(tmp_path / "x.json")
