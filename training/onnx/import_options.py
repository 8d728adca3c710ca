"""What must be said of an ONNX hash model that does not say it itself: command-line options.

`training.onnx.import_model` writes a copy that carries it; `training.eval.evaluate` judges such a copy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click

R = TypeVar("R")
CHANNELS = 3


def number(text: str) -> float:
    """ "0.5" or "1/255"; raises ValueError for what is neither, or not finite."""
    above, _, below = text.partition("/")
    value = float(above) / float(below or 1) if below != "0" else math.nan
    if not math.isfinite(value):
        raise ValueError(text)
    return value


class _Numbers(click.ParamType[Any]):
    """`count` numbers with commas between them, fractions allowed; one number alone is a float."""

    name = "number"

    def __init__(self, count: int = 1, least: float | None = None):
        self.count, self.least = count, least
        self.name = ",".join(["number"] * count)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            found = tuple(number(part) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            found = ()
        if len(found) != self.count or any(
            self.least is not None and each <= self.least for each in found
        ):
            asked = "a number" if self.count == 1 else f"{self.count} numbers, as 1,2,3"
            above = "" if self.least is None else f" above {self.least:g}"
            self.fail(f'"{value}" is not {asked}{above}', param, ctx)
        return found[0] if self.count == 1 else found


@dataclass(frozen=True)
class Said:
    """What somebody said of a foreign model; None: nothing.

    A value of its input is (pixel * scale + offset - mean) / std, mean and std by channel in the
    model's own order.
    """

    size: int | None = None
    layout: str | None = None
    colour: str | None = None
    scale: float | None = None
    offset: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    threshold: float | None = None
    output: str | None = None
    radius: int | None = None
    name: str | None = None

    @property
    def options(self) -> list[str]:
        """The options that were given."""
        return [f"--{each.name}" for each in fields(self) if getattr(self, each.name) is not None]


_OPTIONS = (
    click.option("--size", type=click.IntRange(1, 4096), help="Input side, where it is free."),
    click.option(
        "--layout", type=click.Choice(["nchw", "nhwc"]), help="Where its input leaves both open."
    ),
    click.option(
        "--colour",
        type=click.Choice(["rgb", "bgr"]),
        help="Of the channels; rgb if not said.",
    ),
    click.option(
        "--scale",
        type=_Numbers(least=0),
        help="A value of the input is (pixel * scale + offset - mean) / std; 1/255, say.",
    ),
    click.option("--offset", type=_Numbers(), help="See --scale; 0 if not said."),
    click.option("--mean", type=_Numbers(CHANNELS), help="Of each channel, in the model's order."),
    click.option("--std", type=_Numbers(CHANNELS, least=0), help="Likewise."),
    click.option(
        "--threshold", type=_Numbers(), help="A bit is 1 above it; known after a sigmoid or a tanh."
    ),
    click.option("--output", help="Name of the codes, where there are several outputs."),
    click.option(
        "--radius",
        type=click.IntRange(0),
        help='Distance from which on a neighbour is "unknown"; a fifth of the bits if not said.',
    ),
    click.option("--name", help="For people; the file's if not said."),
)


def describing(command: Callable[..., R]) -> Callable[..., R]:
    """Give `command` the options above; it gets them as `said`."""

    @functools.wraps(command)
    def wrapped(**options: Any) -> R:
        said = Said(**{each.name: options.pop(each.name) for each in fields(Said)})
        return command(said=said, **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
