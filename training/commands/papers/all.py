"""Run every table of the papers, one after another, then write the page.

\b
    python -m training papers all --data ../shared/data --cifar10 DIR --weights NPZ
    make papers DATA=../shared/data CIFAR10=DIR WEIGHTS=NPZ

DATA has the sets grocery, ie_tower and objects. On two idle cores the whole takes about four hours,
estimated from the CPU time of its parts, most of it quantized-cnn, table3 and cifar10. Every table
resumes, so a command that was killed goes on when it is given again. A table that fails does not
stop the others; the exit code is 9 then.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from edge_runtime.errors import EXIT_CHECK_FAILED, InputError
from training.cli import log, report_errors
from training.commands.papers import VERBS
from training.papers.plan import Places, commands
from training.papers.rows import RESULTS


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="Folder with the sets of photos.")
@click.option("--cifar10", type=Path, required=True, help="Folder of CIFAR-10.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--build", type=Path, default=Path("build/papers"), show_default=True,
              help="Folder of stored features and finished runs.")  # fmt: skip
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result files.")
@click.option("--only", default="", help="Verbs, separated by commas.  [default: all]")
@click.option("--tiny", is_flag=True, help="A short form of the tables, on any sets; no page.")
@report_errors
def main(
    data: Path, cifar10: Path, weights: Path, build: Path, results: Path, only: str, tiny: bool
) -> None:
    """Run the command."""
    for path in (data, cifar10, weights):
        if not path.exists():
            raise InputError(
                "does not exist", where=path, remedy="give --data, --cifar10, --weights"
            )
    chosen = commands(Places(data, cifar10, weights, build, results, tiny))
    names = tuple(filter(None, only.split(","))) or tuple(chosen)
    for name in names:
        if name not in chosen:
            raise InputError(
                f'unknown table "{name}"', where="--only", remedy=f"known: {', '.join(chosen)}"
            )
    failed = [name for name in names if name in VERBS and not _run(name, chosen[name])]
    if not tiny:
        _run("page", [])
    if failed:
        log(f"failed: {', '.join(failed)}; correct the cause and give the same command again")
        sys.exit(EXIT_CHECK_FAILED)


def _run(verb: str, options: list[str]) -> bool:
    log(f"papers {verb} {' '.join(options)}")
    words = [sys.executable, "-m", "training", "papers", verb, *options]
    return subprocess.run(words, check=False).returncode == 0
