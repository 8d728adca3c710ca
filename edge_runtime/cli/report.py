"""`edge-runtime report show|html|compare|history|schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import console, echo, json_option, print_json, print_message
from edge_runtime.errors import EXIT_CHECK_FAILED

if TYPE_CHECKING:
    from edge_runtime.report.compare import Comparison

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("report")
def command() -> None:
    """Show, draw and compare reports of `edge-runtime profile --out FILE`."""


@command.command("show")
@click.argument("file", type=_FILE)
def show(file: Path) -> int:
    """Print a report.

    The exit code is 9 if it is over budget, or not a valid measurement.
    """
    from edge_runtime.report import read_report
    from edge_runtime.report.text import show as print_report

    report = read_report(file)
    print_report(report, console())
    return 0 if report.met else EXIT_CHECK_FAILED


@command.command("html")
@click.argument("file", type=_FILE)
@click.option("--out", type=_FILE, help="File to write.  [default: FILE with the suffix .html]")
def html(file: Path, out: Path | None) -> None:
    """Draw a report as one self-contained HTML page with plots."""
    from edge_runtime.report import read_report
    from edge_runtime.report.html_report import write_page

    page = out or file.with_suffix(".html")
    write_page(page, read_report(file))
    echo(str(page))


@command.command("compare")
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE)
@click.option("--force", is_flag=True, help="Compare reports of different models or images, too.")
@json_option
def compare(a: Path, b: Path, force: bool, as_json: bool) -> int:
    """Compare report B with report A, stage by stage.

    The exit code is 9 if B is slower.
    """
    from edge_runtime.report import read_report
    from edge_runtime.report.compare import SLOWER
    from edge_runtime.report.compare import compare as compared

    comparison = compared(read_report(a), read_report(b), force=force)
    if as_json:
        print_json(comparison.to_dict())
    else:
        _print(comparison)
    return EXIT_CHECK_FAILED if comparison.verdict == SLOWER else 0


def _print(comparison: Comparison) -> None:
    from rich.table import Table

    for warning in comparison.warnings:
        print_message(f"edge-runtime: {warning}")
    table = Table(box=None, pad_edge=False)
    for name in ("stage", ""):
        table.add_column(name)
    for name in ("A ms", "B ms", "B / A", "normalized", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    styles = {"faster": "green", "slower": "red"}
    for line in comparison.lines:
        interval = line.normalized or line.ratio
        table.add_row(
            line.stage.replace("_", " ") if line.percent == 50 else "",
            f"p{line.percent}",
            f"{line.a_ms:.3f}",
            f"{line.b_ms:.3f}",
            f"{line.ratio.value:.3f}" if line.ratio else "",
            f"{line.normalized.value:.3f}" if line.normalized else "",
            f"{interval.low:.3f} to {interval.high:.3f}" if interval else "too few samples",
            line.verdict if line.verdict in styles else "",
            style=styles.get(line.verdict, ""),
        )
    console().print(table, highlight=False)
    echo(f"calibration loop: {comparison.machine.value:.3f}x the time of A in B")
    for name, (left, right) in comparison.figures.items():
        echo(f"{name}: {left:,.0f} (A), {right:,.0f} (B)")
    where = f" (in {', '.join(comparison.stages)})" if comparison.stages else ""
    echo(
        f"B is {comparison.verdict}{where}"
        if comparison.verdict in styles
        else comparison.verdict + where
    )


@command.command("history")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@json_option
def history(folder: Path, as_json: bool) -> None:
    """List all reports in FOLDER by date.

    Each is compared with the previous one of the same device, engine, model and images.
    """
    from rich.table import Table

    from edge_runtime.report.history import read_history

    entries, errors = read_history(folder)
    for error in errors:
        print_message(f"edge-runtime: skipped: {error}")
    if as_json:
        print_json([entry.to_dict() for entry in entries])
        return
    table = Table(box=None, pad_edge=False)
    for name in ("date", "file", "device", "engine", "model", "commit"):
        table.add_column(name)
    for name in ("p50 ms", "p99 ms", "cold ms", "peak MB"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("change")
    for entry in entries:
        table.add_row(*entry.cells())
    console(200).print(table, highlight=False)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a report."""
    from edge_runtime.report.describe import json_schema

    click.echo(json.dumps(json_schema(), indent=1))
