"""Reports: schema, file format, comparison, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import msgspec
import numpy as np
import pytest
from msgspec import inspect as shape

from edge_runtime.errors import ReportError, StorageError
from edge_runtime.report import SCHEMA_VERSION, Report, read_report, write_report
from edge_runtime.report.bootstrap import ratio
from edge_runtime.report.compare import compare
from edge_runtime.report.describe import document, fields, json_schema
from edge_runtime.report.file import MAX_BYTES, to_json
from edge_runtime.report.history import read_history
from edge_runtime.report.html_report import page
from edge_runtime.report.schema import Verdict
from edge_runtime.report.table import UNITS
from tests.support.processes import ROOT, run_cli
from tests.support.reports import GOLDEN, changed, report_of

# -- the schema ---------------------------------------------------------------------------------


def _tables(kind: type) -> dict[str, shape.StructType]:
    tables = {}
    for about in shape.multi_type_info([kind]):
        waiting: list[shape.Type] = [about]
        while waiting:
            now = waiting.pop()
            if isinstance(now, shape.StructType) and now.cls.__name__ not in tables:
                tables[now.cls.__name__] = now
                waiting += [field.type for field in now.fields]
            for name in ("type", "item_type", "value_type"):
                if hasattr(now, name):
                    waiting.append(getattr(now, name))
            waiting += getattr(now, "types", ())
    return tables


def _numeric(kind: shape.Type) -> bool:
    if isinstance(kind, shape.UnionType):
        return any(_numeric(part) for part in kind.types)
    for name in ("type", "item_type", "value_type"):
        if hasattr(kind, name):
            return _numeric(getattr(kind, name))
    return isinstance(kind, shape.IntType | shape.FloatType)


def test_every_number_has_its_unit_in_its_name() -> None:
    tables = _tables(Report)
    assert len(tables) > 15
    for name, table in tables.items():
        for field in table.fields:
            if (
                _numeric(field.type) and name != "Verdict"
            ):  # there the name of the budget contains the unit
                assert field.name in UNITS or field.name.endswith(tuple(f"_{u}" for u in UNITS)), (
                    f"{name}.{field.name}"
                )


def test_every_field_is_documented() -> None:
    described = list(fields())
    assert len(described) > 120
    for path, _, text in described:
        assert text.endswith((".", "...")), path


def test_the_published_schema_and_guide_are_up_to_date() -> None:
    docs = ROOT / "docs"
    assert json.loads((docs / "report.schema.json").read_text()) == json_schema()
    text = (docs / "PROFILING.md").read_text()
    assert document(text) == text, "python -m edge_runtime.report"
    assert json.loads(run_cli("report", "schema").stdout) == json_schema()


def test_the_golden_report_is_read_and_written_unchanged(tmp_path: Path) -> None:
    report = read_report(GOLDEN)
    jsonschema_rs.validator_for(json_schema()).validate(json.loads(GOLDEN.read_text()))
    write_report(tmp_path / "again.json", report)
    assert (tmp_path / "again.json").read_bytes() == GOLDEN.read_bytes()


def test_ten_thousand_samples_stay_under_two_megabytes(tmp_path: Path) -> None:
    report = report_of(10_000)
    assert len(to_json(report)) < 2_000_000
    assert len(page(report).encode()) < 2_000_000
    jsonschema_rs.validator_for(json_schema()).validate(json.loads(to_json(report)))


# -- the file -----------------------------------------------------------------------------------


def test_files_that_are_not_reports_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    whole = GOLDEN.read_text()
    later = json.loads(whole) | {"schema_version": SCHEMA_VERSION + 1}
    wrong = json.loads(whole) | {"made_at": 5}
    for text, message in (
        (json.dumps(later), "schema version 3 is not supported (expected 2)"),
        (whole[: len(whole) // 2], "truncated, or not JSON"),
        ("", "truncated, or not JSON"),
        ("[" * 100_000, "truncated, or not JSON"),
        ("[1, 2]", "not a report of edge-runtime"),
        ('{"a": 1}', "not a report of edge-runtime"),
        (json.dumps(wrong), "corrupt: Expected `str`, got `int` - at `$.made_at`"),
    ):
        path.write_text(text)
        with pytest.raises(ReportError, match=re.escape(message)):
            read_report(path)
    for command in (("show", path), ("html", path), ("compare", GOLDEN, path)):
        done = run_cli("report", *command)
        assert (done.returncode, done.stdout) == (8, ""), done.stderr
        assert done.stderr.count("\n") == 1
    path.unlink()
    with pytest.raises(ReportError, match="no such file"):
        read_report(path)


def test_truncation_at_any_place_is_detected(tmp_path: Path) -> None:
    data, path = GOLDEN.read_bytes(), tmp_path / "cut.json"
    for size in range(0, len(data) - 2, 997):
        path.write_bytes(data[:size])
        with pytest.raises(ReportError):
            read_report(path)


def test_a_full_disk_leaves_the_previous_report(small_disk: Path) -> None:
    path = small_disk / "report.json"
    report = report_of(100)
    write_report(path, report)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="the disk is full"):
        write_report(path, report_of(10_000))
    assert path.read_bytes() == before
    assert [file.name for file in small_disk.iterdir()] == ["report.json"]


# -- comparing ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_runs_of_the_same_program_show_no_difference() -> None:
    verdicts = [
        compare(report_of(seed=seed), report_of(seed=seed + 100)).verdict for seed in range(20)
    ]
    assert verdicts.count("no difference") >= 19


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["hash", "decode", "fit"])
def test_a_slowdown_is_attributed_to_its_stage(stage: str) -> None:
    factor = {"hash": 1.1, "decode": 1.1, "fit": 1.4}[stage]  # a tenth of fit, 0.03 ms, is ignored
    for seed in range(10):
        result = compare(report_of(seed=seed), report_of(seed=seed + 100, slow={stage: factor}))
        assert result.stages == (stage,)
        back = compare(report_of(seed=seed + 100, slow={stage: factor}), report_of(seed=seed))
        assert back.stages == (stage,)
        if stage == "hash":
            assert (result.verdict, back.verdict) == ("slower", "faster")


@pytest.mark.slow
def test_a_slower_machine_is_not_a_slower_program() -> None:
    """On a machine a quarter slower no stage counts as slower, unless it really is."""
    verdicts, stages = [], []
    for seed in range(10):
        a, b = report_of(seed=seed), report_of(seed=seed + 100, machine=1.25)
        result = compare(a, b)
        verdicts.append((result.verdict, result.stages))
        slower = report_of(seed=seed + 200, machine=1.25, slow={"hash": 1.1})
        stages.append(compare(a, slower).stages)
        assert 1.1 < result.machine.value < 1.4
    assert verdicts.count(("no difference", ())) >= 9
    assert stages.count(("hash",)) >= 9


def test_another_program_is_not_a_slowdown() -> None:
    """It affects 60 % of the samples: the median changes, the lower quartile does not."""
    a, b = report_of(seed=1), report_of(seed=2)
    assert b.warm is not None
    samples = dict(b.warm.samples.stages_ms)
    disturbed = np.random.default_rng(5).random(640) < 0.6
    samples["hash"] = [
        (ms or 0) * (1.4 if busy else 1)
        for ms, busy in zip(samples["hash"], disturbed, strict=True)
    ]
    warm = msgspec.structs.replace(
        b.warm, samples=msgspec.structs.replace(b.warm.samples, stages_ms=samples)
    )
    result = compare(a, msgspec.structs.replace(b, warm=warm))
    (line,) = [line for line in result.lines if (line.stage, line.percent) == ("hash", 50)]
    assert line.ratio is not None
    assert line.ratio.low > 1.1
    assert line.verdict == "no difference"


def test_disturbed_reports_must_differ_by_more() -> None:
    a, slower = report_of(seed=1), report_of(seed=2, slow={"hash": 1.1})
    slowest = report_of(seed=2, slow={"hash": 1.3})
    disturbed = [msgspec.structs.replace(r, measurement=False) for r in (slower, slowest)]
    assert compare(a, slower).stages == ("hash",)
    assert compare(a, disturbed[0]).stages == ()
    assert compare(a, disturbed[1]).stages == ("hash",)


def test_each_photo_is_compared_with_itself() -> None:
    """Photos take different times, and in B all of them take a tenth longer."""
    a, b = report_of(seed=1), report_of(seed=2, slow={"decode": 1.1})
    reports = []
    for report in (a, b):
        assert report.warm is not None
        samples = dict(report.warm.samples.stages_ms)
        samples["decode"] = [(ms or 0) * (1 + n % 7) for n, ms in enumerate(samples["decode"])]
        stages = msgspec.structs.replace(report.warm.samples, stages_ms=samples)
        warm = msgspec.structs.replace(report.warm, samples=stages)
        reports.append(
            changed(msgspec.structs.replace(report, warm=warm), input={"photo_count": 7})
        )
    assert compare(*reports).stages == ("decode",)


def test_different_workloads_are_compared_only_with_force(tmp_path: Path) -> None:
    a = report_of()
    other = changed(a, model={"id": "f" * 64})
    with pytest.raises(ReportError, match=r"measure different things: model: .* and .*--force"):
        compare(a, other)
    assert "model: " in compare(a, other, force=True).warnings[0]
    with pytest.raises(ReportError, match="images: photos of 435 x 435 and photos of 640 x"):
        compare(a, changed(a, input={"width_pixels": 640}))
    with pytest.raises(ReportError, match="pace: one by one and paced at 5 per second"):
        compare(a, changed(a, protocol={"pace": "paced", "pace_per_s": 5.0}))
    moved = changed(a, device={"model": "Raspberry Pi 5"}, engine={"thread_count": 4})
    assert [text.partition(":")[0] for text in compare(a, moved).warnings] == [
        "machine",
        "threads",
    ]
    with pytest.raises(ReportError, match="report B ended before its first sample"):
        compare(a, msgspec.structs.replace(a, warm=None))
    few = compare(report_of(20), report_of(20, slow={"hash": 2}))
    assert few.verdict == "no difference"
    assert all(line.ratio is None for line in few.lines)


@pytest.mark.slow
def test_compare_on_the_command_line(tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_report(a, report_of())
    write_report(b, report_of(seed=7, slow={"hash": 1.2}))
    done = run_cli("report", "compare", a, b)
    assert done.returncode == 9
    assert done.stdout.splitlines()[-1] == "B is slower (in hash)"
    done = run_cli("report", "compare", b, a, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "faster"
    write_report(b, changed(report_of(), model={"id": "f" * 64}))
    done = run_cli("report", "compare", a, b)
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr.count("\n") == 1
    assert run_cli("report", "compare", a, b, "--force").returncode == 0


def test_bootstrap_intervals() -> None:
    generator = np.random.default_rng(3)
    a = generator.normal(10, 1, 2000).tolist()
    b = [1.1 * x for x in generator.normal(10, 1, 2000)]
    result = ratio(a, b, 50)
    assert result.low < 1.1 < result.high
    assert result == ratio(a, b, 50), "the result is deterministic"
    assert 0.9 < ratio(a[:40], b[:40], 99).low < ratio(a, b, 99).low
    correlated = np.repeat(generator.normal(10, 1, 100), 20).tolist()  # 100 independent values
    assert _width(correlated) > 1.7 * _width(generator.permutation(correlated).tolist())
    assert ratio([0.0] * 40, [0.0] * 40, 50).value == 1


def _width(samples: list[float]) -> float:
    result = ratio(samples, samples, 50)
    return result.high - result.low


@pytest.mark.slow
def test_history_is_by_date_and_compares_the_same_workload(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    for number, slow in enumerate((1.0, 1.0, 1.3)):
        report = report_of(seed=number, slow={"hash": slow})
        made_at = f"2026-11-2{number}T10:00:00+00:00"
        report = msgspec.structs.replace(report, made_at=made_at)
        write_report(folder / "rpi4" / f"{9 - number}.json", report)
    other = changed(report_of(seed=9), device={"model": "another board"})
    write_report(folder / "other.json", other)
    (folder / "broken.json").write_text("{")
    entries, errors = read_history(folder)
    assert [entry.change for entry in entries if entry.file.startswith("rpi4")] == [
        None,
        "no difference",
        "slower (hash)",
    ]
    assert [entry.change for entry in entries if entry.file == "other.json"] == [None]
    assert [str(error) for error in errors] == [
        f"{folder / 'broken.json'}: truncated, or not JSON (copy it again)"
    ]
    done = run_cli("report", "history", folder)
    assert done.returncode == 0
    assert "slower (hash)" in done.stdout
    assert "skipped" in done.stderr
    assert len(json.loads(run_cli("report", "history", folder, "--json").stdout)) == 4
    with pytest.raises(ReportError, match="contains no reports"):
        read_history(tmp_path / "nothing")


def _history(folder: Path, *reports: Report) -> list[str]:
    """Return the changes in the order of the history."""
    for number, report in enumerate(reports):
        write_report(folder / f"{number}.json", report)
    entries, _ = read_history(folder)
    return [f"{entry.file.removesuffix('.json')} {entry.change}" for entry in entries]


def test_history_leaves_out_environments(tmp_path: Path) -> None:
    for name in (".venv/share", ".git", "node_modules/package", "env/lib", "reports"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file.json").write_text("{")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    write_report(tmp_path / "reports" / "report.json", report_of())
    entries, errors = read_history(tmp_path)
    assert [entry.file for entry in entries] == ["reports/report.json"]
    assert [Path(str(error).split(": ")[0]) for error in errors] == [
        tmp_path / "reports" / "file.json"
    ]


def test_history_respects_time_zones(tmp_path: Path) -> None:
    summer = msgspec.structs.replace(report_of(), made_at="2026-10-25T02:50:00+02:00")
    winter = msgspec.structs.replace(
        report_of(seed=1, slow={"hash": 1.3}), made_at="2026-10-25T02:10:00+01:00"
    )
    unknown = msgspec.structs.replace(report_of(seed=2), made_at="on a Sunday")
    assert _history(tmp_path, winter, summer, unknown) == [
        "2 None",
        "1 no difference",
        "0 slower (hash)",
    ]


def test_history_compares_with_the_last_comparable_report(tmp_path: Path) -> None:
    first, cut, last = (
        msgspec.structs.replace(report, made_at=f"2026-11-2{day}T10:00:00+00:00")
        for day, report in enumerate(
            (
                report_of(),
                msgspec.structs.replace(report_of(), warm=None),
                report_of(seed=1, slow={"hash": 1.3}),
            )
        )
    )
    assert _history(tmp_path / "cut", first, cut, last) == ["0 None", "1 None", "2 slower (hash)"]
    gated = changed(last, protocol={"gate": True})
    assert _history(tmp_path / "gate", first, gated) == ["0 None", "1 None"]


def test_a_stage_with_zero_times_gives_valid_json(tmp_path: Path) -> None:
    data = msgspec.to_builtins(report_of())
    data["warm"]["samples"]["stages_ms"]["publish"] = [0.0] * 640
    data["warm"]["stages"]["publish"]["p50_ms"] = 0.0
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_report(a, msgspec.convert(data, Report))
    write_report(b, report_of(seed=3))
    for pair in ((a, b), (b, a), (a, a)):
        done = run_cli("report", "compare", *pair, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"invalid JSON: {word}"))


def test_the_longest_possible_run_can_be_read() -> None:
    count = 2000
    assert len(to_json(report_of(count))) / count * 10**6 < MAX_BYTES


# -- views --------------------------------------------------------------------------------------


def test_every_view_shows_that_a_run_is_not_valid() -> None:
    done = run_cli("report", "show", GOLDEN)
    assert done.returncode == 9
    assert done.stdout.startswith("NOT A VALID MEASUREMENT\n  shared: ")
    assert "withheld: the run is not valid" in done.stdout
    text = page(read_report(GOLDEN))
    assert "Not a valid measurement" in text
    assert "(not a valid measurement)</title>" in text
    assert "withheld: the run is not valid" in text
    good = page(report_of())
    assert "ot a valid measurement" not in good


def test_a_run_that_is_not_valid_neither_meets_nor_misses_a_budget() -> None:
    for met in (True, False):
        line = Verdict(name="query_p50_ms", value=1.0, budget=2.0, source="papers", met=met)
        assert line.word(measurement=True) == ("met" if met else "missed")
        assert line.word(measurement=False) == "withheld: the run is not valid"


@pytest.mark.slow
def test_temperature_and_clock_are_plotted_if_reported() -> None:
    report = report_of()
    assert report.conditions is not None
    reported = [
        msgspec.structs.replace(moment, temperature_c=51.5 + n, clock_mhz=1800.0)
        for n, moment in enumerate(report.conditions.moments)
    ]
    assert ">MHz<" in page(changed(report, conditions={"moments": reported}))
    assert ">\N{DEGREE SIGN}C<" in page(changed(report, conditions={"moments": reported}))
    unreported = [msgspec.structs.replace(m, temperature_c=None, clock_mhz=None) for m in reported]
    assert ">\N{DEGREE SIGN}C<" not in page(changed(report, conditions={"moments": unreported}))


def test_the_page_opens_offline_in_a_browser(tmp_path: Path) -> None:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("no browser: apt install chromium chromium-driver")
    from selenium import webdriver

    path = tmp_path / "report.json"
    report = report_of(10_000)
    write_report(path, report)
    done = run_cli("report", "html", path)
    assert done.stdout.strip() == str(path.with_suffix(".html")), done.stderr
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,844"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        window.get(path.with_suffix(".html").as_uri())
        drawn = window.find_elements("css selector", "svg > title")
        titles = [title.get_attribute("textContent") for title in drawn]
        assert len(titles) == 6
        assert "waterfall of the median query" in titles
        cells = [cell.text for cell in window.find_elements("css selector", "td")]
        assert f"{report.warm.stages['query'].p99_ms:.3f}" in cells  # type: ignore[union-attr]
        loaded = window.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert [name for name in loaded if not name.startswith("data:")] == []
        assert window.get_log("browser") == []
        wide = window.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, "the page fits the width of a phone"
    finally:
        window.quit()


def test_a_report_without_results_has_all_views(tmp_path: Path) -> None:
    bare = msgspec.structs.replace(
        read_report(GOLDEN),
        warm=None, cold=None, memory=None, conditions=None, operators=[], overhead=None, budget=[],
    )  # fmt: skip
    write_report(tmp_path / "bare.json", bare)
    assert run_cli("report", "show", tmp_path / "bare.json").returncode == 9
    assert "Not a valid measurement" in page(bare)


def test_plots_without_matplotlib_name_the_extra(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    done = run_cli("report", "html", GOLDEN, "--out", tmp_path / "x.html", PYTHONPATH=str(tmp_path))
    assert done.returncode == 11
    assert "pip install 'edge-runtime[report]'" in done.stderr
    assert not (tmp_path / "x.html").exists()


def test_report_show_does_not_import_heavy_packages() -> None:
    script = (
        "import sys\nfrom edge_runtime.cli import run_command\n"
        f"run_command(['report', 'show', {str(GOLDEN)!r}])\n"
        "assert not {'cv2', 'matplotlib', 'onnxruntime'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
