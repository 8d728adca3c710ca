"""`edge-runtime report show|html|compare|history|schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import console, json_option, print_json, print_message
from edge_runtime.errors import EXIT_CHECK_FAILED

if TYPE_CHECKING:
    from edge_runtime.report.compare import Comparison

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("report")
def command() -> None:
    """What `edge-runtime profile --out FILE` has kept."""


@command.command("show")
@click.argument("file", type=_FILE)
def show(file: Path) -> int:
    """Print a report. Exit code 9: it is over budget, or no measurement."""
    from edge_runtime.report import read_report
    from edge_runtime.report.text import show as print_report

    report = read_report(file)
    print_report(report, console())
    return 0 if report.met else EXIT_CHECK_FAILED


@command.command("html")
@click.argument("file", type=_FILE)
@click.option("--out", type=_FILE, help="The page.  [default: FILE with the suffix .html]")
def html(file: Path, out: Path | None) -> None:
    """Draw a report: one page with its plots inside, which needs nothing else."""
    from edge_runtime.report import read_report
    from edge_runtime.report.html_report import write_page

    page = out or file.with_suffix(".html")
    write_page(page, read_report(file))
    click.echo(page)


@command.command("compare")
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE)
@click.option("--force", is_flag=True, help="Even if they measured different things.")
@json_option
def compare(a: Path, b: Path, force: bool, as_json: bool) -> int:
    """Is B faster or slower than A, and where? Exit code 9: slower."""
    from edge_runtime.report import read_report
    from edge_runtime.report.compare import SLOWER
    from edge_runtime.report.compare import compare as compared

    found = compared(read_report(a), read_report(b), force=force)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    return EXIT_CHECK_FAILED if found.verdict == SLOWER else 0


def _print(found: Comparison) -> None:
    from rich.table import Table

    for warning in found.warnings:
        print_message(f"edge-runtime: {warning}")
    table = Table(box=None, pad_edge=False)
    for name in ("stage", ""):
        table.add_column(name)
    for name in ("A ms", "B ms", "B / A", "steadied", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    styles = {"faster": "green", "slower": "red"}
    for line in found.lines:
        sure = line.steadied or line.ratio
        table.add_row(
            line.stage.replace("_", " ") if line.percent == 50 else "",
            f"p{line.percent}",
            f"{line.a_ms:.3f}",
            f"{line.b_ms:.3f}",
            f"{line.ratio.value:.3f}" if line.ratio else "",
            f"{line.steadied.value:.3f}" if line.steadied else "",
            f"{sure.low:.3f} to {sure.high:.3f}" if sure else "too few samples",
            line.verdict if line.verdict in styles else "",
            style=styles.get(line.verdict, ""),
        )
    console().print(table, highlight=False)
    click.echo(f"the machine itself took {found.machine.value:.3f} times as long in B")
    for name, (left, right) in found.figures.items():
        click.echo(f"{name}: {left:,.0f} and {right:,.0f}")
    where = f" (in {', '.join(found.stages)})" if found.stages else ""
    click.echo(f"B is {found.verdict}{where}" if found.verdict in styles else found.verdict + where)


@command.command("history")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@json_option
def history(folder: Path, as_json: bool) -> None:
    """All reports in FOLDER by date, each compared with the one before it of the same kind."""
    from rich.table import Table

    from edge_runtime.report.history import read_history

    entries, faults = read_history(folder)
    for fault in faults:
        print_message(f"edge-runtime: skipped: {fault}")
    if as_json:
        print_json([entry.to_dict() for entry in entries])
        return
    table = Table(box=None, pad_edge=False)
    for name in ("made", "file", "device", "engine", "model", "commit"):
        table.add_column(name)
    for name in ("p50 ms", "p99 ms", "cold ms", "peak MB"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("since the last")
    for entry in entries:
        table.add_row(*entry.cells())
    console(200).print(table, highlight=False)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a report."""
    from edge_runtime.report.describe import json_schema

    click.echo(json.dumps(json_schema(), indent=1))
