"""Which files lead from the version that a board has to the newest one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_NAME = re.compile(r"gallery/(delta|full)/(\d{6,16})\.jsonl\.gz")


class Signed(Protocol):
    """What is known of a signed file."""

    @property
    def custom(self) -> dict[str, Any]:
        """Facts that the desk signed."""


@dataclass(frozen=True)
class Plan:
    """The files to apply, in their order."""

    version: int
    """The newest for this model; 0 if there is none."""
    names: tuple[str, ...]
    """Empty if the board has it, or if the files do not lead there."""
    other_model: str = ""
    """The model of a still newer version that this board cannot use."""

    def newest_is_missing(self, have: int) -> bool:
        """Return whether there is a newer version, without files that lead to it."""
        return self.version > have and not self.names


def make_plan(
    targets: Mapping[str, Signed], model_id: str, have: int, *, full: bool = False
) -> Plan:
    """Return the deltas after version `have`, or a full file and the deltas after it.

    `full` asks for a full file even if the deltas are there.
    """
    deltas: dict[int, str] = {}
    fulls: dict[int, str] = {}
    others: dict[int, str] = {}
    for name, target in targets.items():
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        version, model = int(found[2]), target.custom.get("model_id")
        if model != model_id:
            others[version] = str(model)
        elif found[1] == "full":
            fulls[version] = name
        elif target.custom.get("base") == version - 1:
            deltas[version] = name
    newest = max((*deltas, *fulls), default=0)
    other = others[max(others)] if others and max(others) > newest else ""
    if newest < have or (newest == have and not full):
        return Plan(newest, (), other)
    if not full and have and (chain := _chain(deltas, have, newest)) is not None:
        return Plan(newest, chain, other)
    for version in sorted(fulls, reverse=True):
        if (chain := _chain(deltas, version, newest)) is not None:
            return Plan(newest, (fulls[version], *chain), other)
    return Plan(newest, (), other)


def _chain(deltas: Mapping[int, str], first: int, last: int) -> tuple[str, ...] | None:
    """Return the deltas after `first` up to `last`; None if one is missing."""
    if any(version not in deltas for version in range(first + 1, last + 1)):
        return None
    return tuple(deltas[version] for version in range(first + 1, last + 1))
