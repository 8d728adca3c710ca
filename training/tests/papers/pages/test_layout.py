"""The tables of the page: settings as columns, sets apart, boards apart, nothing empty."""

from __future__ import annotations

import pytest

from training.papers.page import document
from training.papers.pages.duration import durations, hours
from training.papers.pages.layout import tables
from training.papers.pages.verdicts import verdicts, without_verdicts
from training.papers.pages.wording import header, sentence
from training.papers.rows import Row, Table, read_tables
from training.papers.times import Spent


def _row(system: str, setting: str, measure: str = "MAP (%)", **options: object) -> Row:
    return Row(system, "s", setting, measure, values=(1.0, 2.0, 3.0), **options)  # type: ignore[arg-type]


def test_settings_that_all_systems_have_are_columns() -> None:
    rows = [
        _row(system, f"{bits} bits", extra={"bytes_per_code": bits // 8, "cpu_seconds": seconds})
        for system, seconds in (("DPSH", 3), ("DHN", 4))
        for bits in (8, 16)
    ]
    table, *others = tables(rows)
    assert table.splitlines() == [
        "| system | 8 bits, MAP (%) | 16 bits, MAP (%) | CPU time of a run (s) |",
        "|---|---|---|---|",
        "| DPSH (s) | 2.0 ± 1.0 | 2.0 ± 1.0 | 3 |",
        "| DHN (s) | 2.0 ± 1.0 | 2.0 ± 1.0 | 4 |",
        "| bytes per code | 1 | 2 |  |",
    ]
    assert others == []


def test_each_set_has_its_table_and_a_system_its_name_once() -> None:
    rows = [
        _row("VHB", f"{place}, {stage}", measure)
        for place in ("grocery", "ie_tower")
        for stage in ("votes", "outline")
        for measure in ("MAP (%)", "P@1 (%)")
    ]
    parts = tables(rows)
    assert parts[0] == "**grocery**" and parts[2] == "**ie_tower**"
    assert parts[1].splitlines()[2:] == [
        "| VHB (s) | votes | 2.0 ± 1.0 | 2.0 ± 1.0 |",
        "|  | outline | 2.0 ± 1.0 | 2.0 ± 1.0 |",
    ]


def test_boards_and_this_machine_have_their_own_tables() -> None:
    extra = {
        "storage_mb": 3, "x86_64_program_cpu_ms": 8.0,
        "cortex_a53_edge_runtime_m_instructions": 9.5, "cortex_a53_edge_runtime_estimated_ms": 4.0,
        "int8_cortex_a53_onnx_runtime_m_instructions": 2.5, "int8_storage_mb": 1,
    }  # fmt: skip
    parts = tables([_row("QCNN", "mobilenet", extra=extra)])
    assert "| QCNN (s) | MobileNet-v1 | 2.0 ± 1.0 | 3 |" in parts[0]
    assert parts[1::2] == [
        "The same network as fp32 and int8:", "On emulated boards:",
        "On the machine that made the table (x86-64):",
    ]  # fmt: skip
    assert parts[2].endswith("| int8 | MobileNet-v1 | 1 |")
    assert parts[4].splitlines()[2:] == [
        "| QCNN | MobileNet-v1 | edge-runtime | 4.0 | 9.5 |",
        "| int8 | MobileNet-v1 | ONNX Runtime |  | 2.5 |",
    ]
    assert parts[6].endswith("| QCNN | MobileNet-v1 | 8.0 |")


def test_a_reason_of_many_rows_is_given_once() -> None:
    rows = [
        Row("A", "s", f"{i} px", "P@1 (%)", values=(1.0,), one_seed_reason="Deterministic.")
        for i in range(3)
    ]
    table, below = tables(rows)
    assert table.count("1.0¹") == 3 and below == "¹ A single value; deterministic."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ie_tower: walks", "`ie_tower`: walks."),
        ("mobilenet, estimated", "MobileNet-v1, estimated."),
        ("mobilenet_v1_general.onnx is", "`mobilenet_v1_general.onnx` is."),
        ("cpu_seconds is a mean", '"CPU time of a run (s)" is a mean.'),
        ("fp32 weights", "fp32 weights."),
        ("other photos.", "Other photos."),
        ("an emulated cortex-a53: 3 ms", "An emulated Cortex-A53: 3 ms."),
    ],
)
def test_names_keep_their_letters(text: str, shown: str) -> None:
    assert sentence(text) == shown


def test_units_stand_in_headers() -> None:
    assert header("wrong_percent") == "wrong (%)" and header("storage_mb") == "storage (MB)"
    assert header("labels") == "labels"


def test_no_column_of_the_page_is_empty() -> None:
    lines = document().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("|---")]
    assert len(starts) > 20
    for start in starts:
        head = lines[start - 1].split(" | ")
        body = []
        for line in lines[start + 1 :]:
            if not line.startswith("|"):
                break
            body.append(line.strip("|").split(" | "))
        for place, title in enumerate(head):
            assert any(row[place].strip() for row in body), (lines[start - 1], title)


def test_the_verdicts_of_table_3_are_tables() -> None:
    table = read_tables()["table3"]
    _, order, _, cause = verdicts(table.rows)
    assert len(order.splitlines()) == 2 + 3 * 6 and len(cause.splitlines()) == 2 + 6
    left = without_verdicts(table.notes, table.rows)
    assert len(left) == len(table.notes) - 4 * 6
    assert not any("backbone or loss" in note for note in left)
    assert verdicts([_row("VHB", "grocery")]) == []


def test_times_say_how_they_are_known() -> None:
    rows = (_row("A", "12 bits", extra={"cpu_seconds": 20}),)
    found = {name: Table("c", "d", rows) for name in ("cifar10", "clips")}
    found["table3"] = Table("c", "d", (_row("A", "12 bits"),))
    found["quantized_cnn"] = found["table3"]
    spent = {
        "clips": Spent(600.0, 300.0, 2, True, "a CPU"),
        "quantized-cnn": Spent(9000.0, 3600.0, 1, True, "a CPU", share=0.25),
    }
    said, table, machine = durations(found, spent)
    assert "| command | measured CPU time (min) | estimated CPU time (min) | wall" in table
    assert "| `cifar10` |  | 1.0 |  | from the CPU times of its rows" in table
    assert "| `clips` | 5.0 |  | 10.0 | measured, 2 starts |" in table
    assert "| `quantized-cnn` |  | 240.0 |  | from the first 25% of its runs, 60.0 min |" in table
    assert "| `table3` |  |  |  | not known" in table
    assert "Measured: 0.1 hours" in said and "Estimated: 4.0 hours more" in said
    assert "Not known: `table3`, `alexnet`." in said
    assert machine == "Machine: a CPU."
    assert said.endswith(hours(found, spent))
    _, table, _ = durations({"clips": found["table3"]}, {"clips": spent["clips"]})
    assert "estimated CPU time" not in table
