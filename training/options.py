"""Options and option types that several commands share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from edge_runtime.errors import InputError
from training.methods import CLOSED_FORM, SUPERVISED
from training.onnx.model_description import CHANNELS, ModelDescription

R = TypeVar("R")
MAX_BITS = 4096
"""Longest code in bits that edge_runtime.model accepts."""
BITS = click.IntRange(1, MAX_BITS)
SIDE = click.IntRange(32, 1024)
"""Input side in pixels: the network halves it five times."""


def parse_methods(text: str) -> tuple[str, ...]:
    """Parse "paper,itq" as ("paper", "itq"); raises InputError for an unknown method."""
    names = tuple(text.split(","))
    known = (*CLOSED_FORM, *SUPERVISED)
    for name in names:
        if name not in known:
            raise InputError(
                f'unknown method "{name}"', where="--methods", remedy=f"known: {', '.join(known)}"
            )
    return names


def parse_lengths(text: str, where: str = "--bits") -> tuple[int, ...]:
    """Parse "16,32" as (16, 32); raises InputError unless each is 1 to MAX_BITS bits."""
    parts = text.split(",")
    lengths = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(lengths) < len(parts) or not all(1 <= bits <= MAX_BITS for bits in lengths):
        raise InputError(
            f'"{text}" is not a list of code lengths',
            where=where,
            remedy=f"write 16,32,64, each 1 to {MAX_BITS}",
        )
    return lengths


def parse_shares(text: str, where: str = "--shares") -> tuple[float, ...]:
    """Parse "0,0.25,1" as (0.0, 0.25, 1.0); raises InputError unless each is 0 to 1."""
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise InputError(
            f'"{text}" is not a list of shares', where=where, remedy="write 0,0.25,1, each 0 to 1"
        )
    return shares


def number(text: str) -> float:
    """Parse "0.5" or "1/255"; raises ValueError unless the value is finite."""
    numerator, _, denominator = text.partition("/")
    value = float(numerator) / float(denominator or 1) if denominator != "0" else math.nan
    if not math.isfinite(value):
        raise ValueError(text)
    return value


class _Numbers(click.ParamType[Any]):
    """`count` comma-separated numbers or fractions; a single number is converted to a float."""

    name = "number"

    def __init__(self, count: int = 1, above: float | None = None):
        self.count, self.above = count, above
        self.name = ",".join(["number"] * count)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            numbers = tuple(number(part) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            numbers = ()
        if len(numbers) != self.count or any(
            self.above is not None and each <= self.above for each in numbers
        ):
            expected = "a number" if self.count == 1 else f"{self.count} numbers such as 1,2,3"
            limit = "" if self.above is None else f" above {self.above:g}"
            self.fail(f'"{value}" is not {expected}{limit}', param, ctx)
        return numbers[0] if self.count == 1 else numbers


_OPTIONS = (
    click.option(
        "--size", type=click.IntRange(1, 4096), help="Input side in pixels, if it is dynamic."
    ),
    click.option(
        "--layout", type=click.Choice(["nchw", "nhwc"]), help="Layout, if the shape fits both."
    ),
    click.option(
        "--color", type=click.Choice(["rgb", "bgr"]), help="Channel order.  [default: rgb]"
    ),
    click.option(
        "--scale",
        type=_Numbers(above=0),
        help="An input value is (pixel * scale + offset - mean) / std; for example 1/255.",
    ),
    click.option("--offset", type=_Numbers(), help="See --scale.  [default: 0]"),
    click.option(
        "--mean", type=_Numbers(CHANNELS), help="Mean per channel, in the model's channel order."
    ),
    click.option(
        "--std", type=_Numbers(CHANNELS, above=0), help="Standard deviation per channel, likewise."
    ),
    click.option(
        "--threshold",
        type=_Numbers(),
        help="A bit is 1 above this activation; known after a sigmoid or tanh.",
    ),
    click.option("--output", help="Name of the output with the codes, if there are several."),
    click.option(
        "--radius",
        type=click.IntRange(0),
        help="Distance beyond which a query is unknown.  [default: a fifth of the bits]",
    ),
    click.option("--name", help="Name of the model.  [default: the file's]"),
)


def description_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that describe a foreign model; `command` receives them as `given`."""

    @functools.wraps(command)
    def wrapped(**options: Any) -> R:
        names = [each.name for each in fields(ModelDescription)]
        given = ModelDescription(**{name: options.pop(name) for name in names})
        return command(given=given, **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
