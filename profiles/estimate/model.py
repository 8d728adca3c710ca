"""Print how well the latency model (latency.py) predicts the published times.

    python -m profiles.estimate.model

The command fits the model of every core again and prints each published time beside its estimate.
"""

from __future__ import annotations

import click

from profiles.bench.support.results import exit_on_error
from profiles.estimate.calibration import read_calibration
from profiles.estimate.latency import PRIORS, TARGETS, fit, kinds, rows, usual, within, worst


@click.command(help=__doc__)
def main() -> None:
    """Fit every core and print its rows and errors."""
    with exit_on_error("model"):
        calibration = read_calibration()
    for core in PRIORS:
        model = fit(core, calibration)
        click.echo(f"{core}: {_listed({**model.cycles, **model.memory_ns})}")
        all_rows = rows(model, calibration)
        for row in all_rows:
            click.echo(
                f"  {row.board:34}{row.net:22}{row.published_ms:9.1f}{row.estimated_ms:9.1f} "
                f"{row.error:+6.0%} {row.held_back}"
            )
        for kind, some in kinds(model, calibration).items():
            click.echo(
                f"  {kind.replace('_', ' ')}: {len(some)} rows, error median {usual(some):.0%}, "
                f"worst {worst(some):.0%}, {len(within(some))} within {TARGETS[core]:.0%}"
            )


def _listed(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())


if __name__ == "__main__":
    main()
