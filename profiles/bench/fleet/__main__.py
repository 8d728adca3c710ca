"""Let a fleet live under faults, and check that it agrees in the end.

    python -m profiles.bench.fleet --seed 1 --seed 2

A desk, mosquitto, a file server and 12 boards run as processes, each in a network namespace of its
own and with a date of its own. They are killed with signal 9, stopped, cut from the network, and
their clocks are set days ahead or behind, at random. The broker's disk is wiped twice. Once, the
desk signs with a clock that is days ahead, and two root keys must replace the online keys. A
curator accepts, rejects and renames. When the faults end, every enrollment that a board committed
must be decided by a signed version, and all boards must have the content that all signed versions
give when they are applied to an empty gallery. No query may fail. Else, the exit code is 9.

Namespaces need root and `ip`; without them, the report says why there were no partitions.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.system.device import read_device
from profiles.bench.fleet.clocks import build_library
from profiles.bench.fleet.live import board_names, live
from profiles.bench.fleet.network import open_network
from profiles.bench.support.results import exit_on_error, write_report


@click.command()
@click.option("--boards", type=click.IntRange(1, 200), default=12, show_default=True)
@click.option("--seconds", type=click.FloatRange(10), default=100.0, show_default=True)
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    help="What happens when; one run for each.  [default: one of another seed each time]",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the report.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the folders and logs in this new folder.",
)
def main(
    boards: int, seconds: float, seeds: tuple[int, ...], out: Path | None, keep: Path | None
) -> None:
    """Let a fleet live under faults, and check that it agrees in the end."""
    with exit_on_error("fleet"):
        folder = keep or Path(tempfile.mkdtemp(prefix="fleet-"))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            library, no_clocks = build_library(folder)
            names = board_names(boards)
            network, no_partitions = open_network(["broker", "files", "desk", *names])
            try:
                runs = []
                for seed in seeds or (random.randrange(10_000),):
                    place = folder / f"seed-{seed}"
                    place.mkdir()
                    runs.append(live(place, network, library, names, seconds, seed))
            finally:
                network.close()
        finally:
            if keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    report = {
        "device": asdict(read_device()),
        "boards": boards,
        "seconds": seconds,
        "without_partitions": no_partitions,
        "without_clock_skew": no_clocks,
        "runs": runs,
        "met": all(run["agrees"] for run in runs),
    }
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
