"""Run every table of the papers, one after another, then write the page.

\b
    python -m training papers all --data ../shared/data --cifar10 DIR --weights NPZ
    python -m training papers all --data ../shared/data --weights NPZ --tiny
    make papers DATA=../shared/data CIFAR10=DIR WEIGHTS=NPZ

DATA has the sets grocery, ie_tower and objects. The page says how long each table takes, and the
DATA has the sets grocery, ie_tower and objects. The page says how long each table takes, and the
first line of the command how long all of them take. Every table resumes, so a killed command
continues when it is repeated. A table that fails does not stop the others; the exit code is 9 then.

--tiny runs a short form of every table in two minutes, on a few photos of each set of DATA, and on
crops of them instead of CIFAR-10. It writes its tables and its page to --build only.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from edge_runtime.errors import EXIT_CHECK_FAILED, InputError
from training.cli import log, report_errors
from training.papers.pages.duration import hours
from training.papers.plan import Places, commands, tiny_commands
from training.papers.rows import RESULTS, read_tables
from training.papers.small_data import small_sets, stand_in_for_cifar10
from training.papers.times import read_times

TINY_BUILD = Path("build/papers-tiny")


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="Folder with the sets of photos.")
@click.option("--cifar10", type=Path, help="Folder of CIFAR-10; --tiny needs none.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--sounds", type=Path, help="Folder with recordings (WAV) for clips.")
@click.option("--build", type=Path, default=Path("build/papers"),
              help="Folder of stored features and finished runs."
              "  [default: build/papers, or build/papers-tiny]")  # fmt: skip
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result files.")
@click.option("--only", default="", help="Verbs, separated by commas.  [default: all]")
@click.option("--tiny", is_flag=True, help="A short form of the tables, on any sets.")
@click.pass_context
@report_errors
def main(
    context: click.Context,
    data: Path,
    cifar10: Path | None,
    weights: Path,
    sounds: Path | None,
    build: Path,
    results: Path,
    only: str,
    tiny: bool,
) -> None:
    """Run the command."""
    for path in (data, weights, *((cifar10,) if cifar10 else ())):
        if not path.exists():
            raise InputError(
                "does not exist", where=path, remedy="give --data, --cifar10, --weights"
            )
    if cifar10 is None and not tiny:
        raise InputError("not given", where="--cifar10", remedy="give the folder of CIFAR-10")
    if tiny:
        if context.get_parameter_source("build") is click.core.ParameterSource.DEFAULT:
            build = TINY_BUILD
        results = build / "results"
        small = build / "data"
        names = small_sets(data, small)
        cifar = stand_in_for_cifar10(small / names[0], build / "stand-in")
        chosen = tiny_commands(Places(small, cifar, weights, build, results, sounds), names)
    else:
        assert cifar10 is not None
        chosen = commands(Places(data, cifar10, weights, build, results, sounds))
        log(f"all tables on one core. {hours(read_tables(), read_times(RESULTS))}")
    wanted = tuple(filter(None, only.split(","))) or tuple(chosen)
    for name in wanted:
        if name not in chosen:
            raise InputError(
                f'unknown table "{name}"', where="--only", remedy=f"known: {', '.join(chosen)}"
            )
    failed = [name for name in wanted if not _run(name, chosen[name])]
    page = ["--results", str(results)]
    if not _run("page", [*page, "--out", str(build / "PAPERS.md")] if tiny else page):
        failed.append("page")
    if failed:
        log(f"failed: {', '.join(failed)}; correct the cause and give the same command again")
        sys.exit(EXIT_CHECK_FAILED)


def _run(verb: str, options: list[str]) -> bool:
    log(f"papers {verb} {' '.join(options)}")
    words = [sys.executable, "-m", "training", "papers", verb, *options]
    return subprocess.run(words, check=False).returncode == 0
