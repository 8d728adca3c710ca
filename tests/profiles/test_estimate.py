"""Estimates: the model is fitted correctly, predicts held-back data, and is marked as such."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from compile.target.description import HOST, Target, known_targets, read_target
from edge_runtime.errors import ReportError, TargetError
from edge_runtime.report import write_report
from edge_runtime.report.budget import MODEL_BUDGET_MB, QUERY_BUDGET_MS
from profiles.estimate import __main__ as command
from profiles.estimate import calibration as data
from profiles.estimate.latency import (
    GROUPS,
    PRIORS,
    TARGETS,
    fit,
    kinds,
    non_negative,
    rows,
    usual,
    within,
    worst,
)
from profiles.estimate.report import with_estimates
from profiles.pages import devices
from tests.support.processes import ROOT
from tests.support.reports import changed, report_of

CALIBRATION = data.read_calibration()
REPORT = json.loads(command.REPORT.read_text(encoding="utf-8"))


def test_the_targets_are_unchanged() -> None:
    assert TARGETS == {"cortex-a53": 0.40, "cortex-a72": 0.25, "cortex-a76": 0.25}


@pytest.mark.parametrize("core", TARGETS)
def test_networks_that_were_held_back_are_predicted_within_the_target(core: str) -> None:
    found = rows(fit(core, CALIBRATION), CALIBRATION)
    held = [row for row in found if row.held_back == "network"]
    assert len({row.net for row in held}) >= 5
    assert worst(held) <= TARGETS[core], [(row.board, row.net, row.error) for row in held]


@pytest.mark.parametrize("core", TARGETS)
def test_boards_that_were_held_back_are_predicted(core: str) -> None:
    judged = kinds(fit(core, CALIBRATION), CALIBRATION)
    assert {"held_back_boards", "each_board_left_out_in_turn"} & set(judged)
    for kind, found in judged.items():
        assert len(within(found)) >= 0.95 * len(found), (kind, set(found) - set(within(found)))
        assert usual(found) <= TARGETS[core]


def test_rows_older_than_the_code_that_is_counted_are_left_out_and_reported() -> None:
    content = json.loads((data.FOLDER / data.PUBLISHED).read_text(encoding="utf-8"))
    day = content["counted_since"]["alexnet"]["day"]
    for entry in content["boards"]:
        board = next(one for one in CALIBRATION.boards if one.board == entry["board"])
        wanted = set(entry["latency_ms"]) - ({"alexnet"} if entry["published"] < day else set())
        assert set(board.latency_ms) == wanted, board.board
    description = next(what for what in CALIBRATION.left_out if what.startswith("alexnet"))
    assert "NanoPC-T4, RK3399, a Cortex-A53 (587 ms)" in description, "left out, not hidden"
    assert "Raspberry Pi 3" not in description


@pytest.mark.parametrize("core", TARGETS)
def test_the_fit_is_plausible_and_repeats(core: str) -> None:
    model = fit(core, CALIBRATION)
    assert model == fit(core, CALIBRATION)
    assert set(model.cycles) == set(GROUPS)
    assert all(value >= 0 for value in model.memory_ns.values())
    for value, least in zip(model.cycles.values(), PRIORS[core].least, strict=True):
        assert least <= value < 10
    assert max(model.memory_ns.values()) < 500


def test_held_back_rows_do_not_affect_the_fit() -> None:
    changed = tuple(
        replace(
            board,
            latency_ms={
                net: ms * (5 if net in CALIBRATION.held_back or not board.calibrates else 1)
                for net, ms in board.latency_ms.items()
            },
        )
        for board in CALIBRATION.boards
    )
    for core in TARGETS:
        assert fit(core, replace(CALIBRATION, boards=changed)) == fit(core, CALIBRATION)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_the_solution_beats_every_nearby_one(seed: int, columns: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(columns + 3, columns)), generator.normal(size=columns + 3)
    found = non_negative(a, b)
    assert (found >= 0).all()
    least = float(((a @ found - b) ** 2).sum())
    for steps in itertools.product((-1e-3, 0.0, 1e-3), repeat=columns):
        other = np.maximum(found + steps, 0)
        assert float(((a @ other - b) ** 2).sum()) >= least - 1e-9


def test_known_parameters_are_recovered() -> None:
    """Times computed from known parameters give those parameters, up to the regularization."""
    core, cycles, memory_ns = "cortex-a72", (1.2, 1.3, 0.9, 0.4, 5.0), 30.0
    model = replace(
        fit(core, CALIBRATION),
        cycles=dict(zip(GROUPS, cycles, strict=True)),
        memory_ns={"Raspberry Pi 4 Model B": memory_ns},
    )
    boards = tuple(
        replace(
            board,
            latency_ms={
                net: model.latency_ms(CALIBRATION.counts[core][net], board.clock_mhz, memory_ns)
                for net in board.latency_ms
            },
        )
        for board in CALIBRATION.of(core)
    )
    again = replace(CALIBRATION, boards=boards)
    assert worst(rows(fit(core, again), again)) < 0.05


# -- the report and its page ----------------------------------------------------------------------


def test_the_stored_report_is_what_the_model_derives_from_its_counts() -> None:
    computed, stored = _flat(with_estimates(copy.deepcopy(REPORT), CALIBRATION)), _flat(REPORT)
    assert list(computed) == list(stored)
    for name, value in stored.items():
        same = computed[name] == (pytest.approx(value, rel=2e-3) if type(value) is float else value)
        assert same, (name, value, computed[name])


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)  # type: ignore[assignment]
    else:
        return {name: value}
    return {k: v for key, part in items for k, v in _flat(part, f"{name}/{key}").items()}


def test_every_device_has_an_estimate_within_the_papers_promise() -> None:
    assert set(REPORT["targets"]) == set(known_targets()) - {HOST}
    for name, entry in REPORT["targets"].items():
        assert {"fp32", "int8"} <= set(entry["precisions"]), name
        for bundle in entry["precisions"].values():
            assert bundle["estimated_query_high_ms"] <= QUERY_BUDGET_MS
            assert bundle["model_bytes"] <= 1e6 * MODEL_BUDGET_MB
            assert {"decode", "fit", "hash", "lookup", "decide", "publish"} == set(bundle["stages"])


def test_every_estimate_is_marked_as_one() -> None:
    assert REPORT["kind"] == "estimate"
    assert REPORT["note"].startswith("Estimates, not measurements")
    text = json.dumps(REPORT["targets"])
    for name in _flat(REPORT["targets"]):
        if name.endswith("_ms"):
            assert name.rsplit("/", 1)[1].startswith("estimated_"), name
    assert "measured" not in text
    page = devices.document()
    assert "**Estimated values are not measurements.**" in page
    for line in command.summary_lines(REPORT["targets"]["rpi4"]):
        assert "estimated" in line


def test_low_and_high_bracket_the_estimate() -> None:
    for entry in REPORT["targets"].values():
        for bundle in entry["precisions"].values():
            for what in ("estimated_query", "estimated_end_to_end"):
                low, middle, high = (bundle[f"{what}{kind}_ms"] for kind in ("_low", "", "_high"))
                assert 0 < low < middle < high


def test_the_page_matches_its_generator() -> None:
    assert devices.PAGE.read_text(encoding="utf-8") == devices.document()


def test_a_valid_measurement_appears_on_the_page_and_a_disturbed_one_does_not(
    tmp_path: Path,
) -> None:
    shutil.copy(command.REPORT, tmp_path)
    folder = tmp_path / "rpi4"
    assert "No board has been measured yet" in devices.document(tmp_path)
    report = report_of(1100)
    slow = changed(report, protocol={"quick": False})
    write_report(folder / "1.json", msgspec.structs.replace(slow, measurement=False))
    write_report(folder / "2.json", changed(report, protocol={"quick": True}))
    assert "No board has been measured yet" in devices.document(tmp_path)
    write_report(folder / "3.json", slow)
    page = devices.document(tmp_path)
    assert report.warm is not None
    assert f"{report.warm.stages['query'].p50_ms:.1f}" in page
    assert "[report](../../profiles/reports/rpi4/3.json)" in page
    (folder / "4.json").write_text("{}")
    with pytest.raises(ReportError, match=r"4\.json: not a report"):
        devices.document(tmp_path)


# -- bad input ------------------------------------------------------------------------------------


def _one_line(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command.main, arguments)
    (line,) = done.output.strip().splitlines()
    return done.exit_code, line


def test_an_unknown_device_is_one_line() -> None:
    code, line = _one_line("rpi9")
    assert code == TargetError.exit_code
    assert line.startswith("estimate: rpi9: unknown device (known are ")


def test_this_machine_is_not_estimated() -> None:
    code, line = _one_line(HOST)
    assert code == TargetError.exit_code
    assert "make profile" in line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('memory = "Raspberry Pi 4 Model B"', 'memry = "x"', "memry"),
        ("[estimate]", "[estimat]", "add [estimate] with core and memory"),
        ("cycles_per_l1_miss", "cycles_per_l1_mis", "the entry 'cycles_per_l1_miss' is missing"),
        ('core = "cortex-a72"', 'core = "cortex-a27"', "one of cortex-a53, cortex-a72, cortex-a76"),
        ('Raspberry Pi 4 Model B"  # the', 'Raspberry"  # the', "one of Raspberry Pi 4 Model B"),
        ('core = "cortex-a72"', 'core = cortex-a72"', "Invalid value"),
    ],
)
def test_a_typo_in_a_device_is_one_line(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "profiles" / "devices" / "rpi4.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "rpi4.toml").write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr("compile.target.description.DEVICES", tmp_path)
    report = tmp_path / "estimates.json"
    only = {**REPORT, "targets": {"rpi4": REPORT["targets"]["rpi4"]}}
    report.write_text(json.dumps(only), encoding="utf-8")
    code, line = _one_line("rpi4", "--refit", "--out", str(report))
    assert code in (TargetError.exit_code, ReportError.exit_code)
    assert message in line


def test_without_a_bundle_the_error_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    code, line = _one_line("rpi4", "--out", str(tmp_path / "estimates.json"))
    assert code == ReportError.exit_code
    assert line.endswith("rpi4: no bundle found (make compile TARGET=rpi4)")


def test_counting_needs_no_compiler() -> None:
    script = "import sys; sys.modules['tvm'] = None; import profiles.estimate.__main__"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "profile"}', '{"kind": "estimate"}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    code, line = _one_line("rpi4", "--refit", "--out", str(path))
    assert code == ReportError.exit_code
    assert str(path) in line
    assert path.read_text() == text


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    code, line = _one_line("rpi4", "--refit", "--out", str(tmp_path / "none" / "report.json"))
    assert (code, line) == (
        ReportError.exit_code,
        f"estimate: {tmp_path / 'none'}: folder not found (name another with --out)",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (data.PUBLISHED, "{"),
        (data.PUBLISHED, '{"schema_version": 2}'),
        (data.PUBLISHED, '{"schema_version": 1, "source": "", "boards": [{"bord": 1}]}'),
        (data.PUBLISHED, '{"schema_version": 1, "source": "", "boards": [], "counted_since": []}'),
        (data.COUNTS, '{"schema_version": 1}'),
        (data.COUNTS, None),
    ],
)
def test_a_damaged_calibration_is_one_line(name: str, text: str | None, tmp_path: Path) -> None:
    for file in (data.COUNTS, data.PUBLISHED):
        shutil.copy(data.FOLDER / file, tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=r"published\.json|counts\.json"):
        data.read_calibration(tmp_path)


def test_too_few_rows_are_refused() -> None:
    counts = {"cortex-a72": dict(list(CALIBRATION.counts["cortex-a72"].items())[:2])}
    with pytest.raises(ReportError, match="too few"):
        fit("cortex-a72", replace(CALIBRATION, counts=counts))


def test_every_device_names_its_core_and_memory() -> None:
    for target in command.devices(()):
        assert target.likeness is not None
        assert target.likeness.core in PRIORS
        boards = {board.board for board in CALIBRATION.of(target.likeness.core)}
        assert target.likeness.memory in boards


def test_devices_that_differ_in_clock_alone_are_counted_once() -> None:
    def counting_key(name: str, precision: str = "fp32") -> Target:
        return command.counting_key(read_target(name), precision)

    assert (
        counting_key("rpi-zero2w")
        == counting_key("rpi3")
        == counting_key("phone-a53")
        != counting_key("rpi4")
    )
    for precision in command.PRECISIONS:
        assert counting_key("phone-a76", precision) == counting_key("rpi5", precision)
    assert ROOT == command.ROOT
