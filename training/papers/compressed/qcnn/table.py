"""The result file: every contender beside the published figures, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from training.papers.compressed.counts import BOARDS, MEGA, Counts, board_figures
from training.papers.compressed.qcnn.study import (
    CORRECTED,
    FP32,
    INT8,
    PLAIN,
    Case,
    Contender,
    Result,
)
from training.papers.rows import SEEDS, Row

SOURCE = "Wu et al. 2016, CVPR"
SYSTEMS = {
    FP32: "fp32",
    INT8: "int8",
    PLAIN: "Quantized CNN without error correction",
    CORRECTED: "Quantized CNN",
}
ON = (
    "AlexNet on ImageNet, a Huawei Mate 7 (Kirin 925, 1.8 GHz), as the survey (Liu et al. 2017, "
    "section 1.4.3) reports it"
)
PUBLISHED = {"storage (MB)": 12.60, "run-time memory (MB)": 74.65, "time of a picture (s)": 0.95}
PUBLISHED_RATIOS = {"compression (times)": 15.0, "acceleration (times)": 4.0}
DIFFERS = (
    "random weights of AlexNet's full size, as no licensed ones are at hand: size and time only; "
    "the first convolution stays fp32"
)
Found = Sequence[tuple[Case, Contender, Result]]


def make_rows(found: Found, counts: Counts) -> list[Row]:
    """Return the rows of all cases: accuracy where photos judge it, and the paper's own figures."""
    rows: list[Row] = []
    groups: dict[tuple[str, str], list[tuple[Case, Contender, Result]]] = {}
    for case, contender, result in found:
        groups.setdefault((case.name, contender.file), []).append((case, contender, result))
    for group in groups.values():
        case, contender, first = group[0]
        extra = figures(case, contender, first, counts)
        if case.photos is None:
            continue
        values = [round(result["map100"], 2) for _, _, result in group]
        reason = "deterministic" if contender.setting is None else "the others are not run yet"
        rows.append(
            Row(
                SYSTEMS[contender.kind], SOURCE, f"{case.name}{_in_words(contender)}",
                "MAP@100 (%)", values=values,
                one_seed_reason=reason if len(values) < SEEDS else "", extra=extra,
            )
        )  # fmt: skip
    return rows + _published_rows(found, counts)


def figures(
    case: Case, contender: Contender, result: Result, counts: Counts
) -> dict[str, str | int | float]:
    """Return storage, memory, time here, and counts and estimates on the emulated CPUs."""
    extra: dict[str, str | int | float] = {"storage_mb": round(result["stored_bytes"] / MEGA, 2)}
    if peak := result.get("program_peak_bytes"):
        extra["run_time_memory_mb"] = round(peak / MEGA, 1)
    for name, key in (("program", "program_cpu_ms"), ("onnxruntime", "onnxruntime_cpu_ms")):
        if key in result:
            extra[f"x86_64_{name}_cpu_ms"] = round(result[key], 2)
    for key in ("response_error", "response_error_corrected"):
        if key in result:
            extra[key] = round(result[key], 4)
    return extra | board_figures(counts, f"{case.name}/{contender.file}")


def _in_words(contender: Contender) -> str:
    one = contender.setting
    return f", {one.words} words for {one.sub} channels" if one else ""


def _published_rows(found: Found, counts: Counts) -> list[Row]:
    """Return the paper's own line: AlexNet at full size."""
    own = {contender.kind: (case, contender, result) for case, contender, result in found
           if case.photos is None}  # fmt: skip
    if FP32 not in own or PLAIN not in own:
        return []
    case, contender, result = own[PLAIN]
    whole = own[FP32][2]
    extra = figures(case, contender, result, counts)
    baseline = {f"fp32_{key}": value for key, value in figures(*own[FP32], counts).items()}
    if INT8 in own:
        baseline |= {f"int8_{key}": value for key, value in figures(*own[INT8], counts).items()}
    ours = {
        "storage (MB)": result["stored_bytes"] / MEGA,
        "run-time memory (MB)": result["program_peak_bytes"] / MEGA,
        "compression (times)": whole["stored_bytes"] / result["stored_bytes"],
        "acceleration (times)": whole["program_cpu_ms"] / result["program_cpu_ms"],
    }
    differs = {
        "run-time memory (MB)": f"{DIFFERS}; here, the C program on x86-64",
        "acceleration (times)": f"{DIFFERS}; here, CPU time on x86-64 against fp32 in the same "
        "program, whose matrix product is plainer than that of ONNX Runtime",
    }
    rows = [
        Row(
            SYSTEMS[CORRECTED], SOURCE, f"AlexNet{_in_words(contender)}", measure,
            (PUBLISHED | PUBLISHED_RATIOS)[measure], ON, [round(value, 2)], "deterministic",
            differs.get(measure, DIFFERS), extra={**extra, **baseline},
        )
        for measure, value in ours.items()
    ]  # fmt: skip
    name = f"{case.name}/{contender.file}"
    for device, board in BOARDS.items():
        one = counts.get(device, {}).get(name)
        if one is None:
            continue
        cpu = board.replace("_", "-").replace("cortex-a", "Cortex-A")
        rows.append(
            Row(
                SYSTEMS[CORRECTED], SOURCE, f"AlexNet{_in_words(contender)}, {cpu}",
                "time of a picture (s)", PUBLISHED["time of a picture (s)"], ON,
                [round(one["estimated_ms"] / 1e3, 3)], "deterministic",
                f"{DIFFERS}; here, estimated from exact counts on an emulated {cpu}",
            )
        )  # fmt: skip
    return rows


def verdict(rows: Sequence[Row]) -> list[str]:
    """Return sentences that compare the best Quantized CNN with int8, from the figures alone."""
    lines = []
    for network in dict.fromkeys(row.setting.split(",")[0] for row in rows):
        own = [row for row in rows if row.setting.split(",")[0] == network]
        judged = [row for row in own if row.measure == "MAP@100 (%)"]
        int8 = next((row for row in judged if row.system == SYSTEMS[INT8]), None)
        coded = [row for row in judged if row.system == SYSTEMS[CORRECTED]]
        if int8 is None or not coded:
            continue
        best = max(coded, key=lambda row: mean(row.values))
        lines.append(
            f"{network}: the best Quantized CNN ({best.setting.partition(', ')[2]}) has a MAP@100 "
            f"of {mean(best.values):.1f} % in {best.extra['storage_mb']} MB, int8 "
            f"{mean(int8.values):.1f} % in {int8.extra['storage_mb']} MB."
        )
        lines += _faster(network, best, int8)
    return lines + _alexnet(rows)


def _faster(network: str, coded: Row, int8: Row) -> list[str]:
    lines = []
    for board in BOARDS.values():
        theirs = [int8.extra.get(f"{board}_{each}_estimated_ms")
                  for each in ("edge_runtime", "onnx_runtime")]  # fmt: skip
        ours = coded.extra.get(f"{board}_estimated_ms")
        least = min((each for each in theirs if isinstance(each, float)), default=None)
        if isinstance(ours, float) and least is not None:
            winner = "int8" if least < ours else "the Quantized CNN"
            lines.append(
                f"{network}, estimated on an emulated {board.replace('_', '-')}: {ours} ms, int8 "
                f"{least} ms; {winner} wins."
            )
    return lines


def _alexnet(rows: Sequence[Row]) -> list[str]:
    row = next((each for each in rows if each.measure == "storage (MB)"), None)
    if row is None or "int8_storage_mb" not in row.extra:
        return []
    line = (
        f"AlexNet at full size: {row.extra['storage_mb']} MB as codewords, "
        f"{row.extra['int8_storage_mb']} MB in int8, {row.extra['fp32_storage_mb']} MB in fp32: "
        "where fully connected layers hold most weights, codewords are far smaller."
    )
    lines = [line]
    for board in BOARDS.values():
        ours = row.extra.get(f"{board}_estimated_ms")
        rivals = {
            "int8 in ONNX Runtime": row.extra.get(f"int8_{board}_onnx_runtime_estimated_ms"),
            "fp32 in ncnn": row.extra.get(f"fp32_{board}_ncnn_estimated_ms"),
        }
        known = [f"{name} {value} ms" for name, value in rivals.items() if value is not None]
        if ours is not None and known:
            lines.append(
                f"AlexNet, estimated on an emulated {board.replace('_', '-')}: {ours} ms, "
                f"{', '.join(known)}."
            )
    here = [row.extra.get(key) for key in (
        "x86_64_program_cpu_ms", "int8_x86_64_onnxruntime_cpu_ms", "fp32_x86_64_onnxruntime_cpu_ms",
    )]  # fmt: skip
    if None not in here:
        lines.append(
            f"AlexNet here, on x86-64: {here[0]} ms of CPU time as codewords; in ONNX Runtime, "
            f"int8 takes {here[1]} ms and fp32 {here[2]} ms."
        )
    return lines
