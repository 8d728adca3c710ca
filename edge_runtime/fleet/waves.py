"""A roll-out of a model, as the desk signs it (rollout.json), and which boards take part."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from edge_runtime.errors import FleetFormatError

ROLLOUT = "rollout.json"
RUNNING, HALTED, DONE, ABORTED = "running", "halted", "done", "aborted"
MOST_BYTES = 1 << 16
_ID = re.compile(r"[0-9a-f]{12,64}")
_MODEL = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Rollout:
    """What rollout.json says."""

    id: str
    cpu: str
    """The target of the bundle, such as rpi4. Boards with bundles for others do not take part."""
    model_id: str
    percent: float
    """The share of the boards that shall have it now."""
    waves: tuple[float, ...]
    """The shares, ascending, the last one 100."""
    state: str
    """running, halted (no further boards), done, or aborted (all boards go back)."""
    attempt: int = 1
    """Boards that failed try again when it grows."""
    gallery: bool = False
    """Whether it brings a gallery, because codes of the earlier model cannot be used."""
    previous: str = ""
    """The id of the roll-out before."""

    @property
    def archive(self) -> str:
        """The name of the signed file with the bundle."""
        return f"release/{self.id}.tar"

    @property
    def gallery_file(self) -> str:
        """The name of the signed file with the gallery, a full file of a version."""
        return f"release/{self.id}.jsonl.gz"

    def includes(self, board: str, percent: float | None = None) -> bool:
        """Return whether `board` shall have it, now or at `percent`."""
        return share_of(board, self.id) * 100 < (self.percent if percent is None else percent)

    def to_bytes(self) -> bytes:
        """Return the content of rollout.json."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def share_of(board: str, rollout: str) -> float:
    """Return a number in [0, 1) that spreads the boards evenly, differently for each roll-out."""
    digest = hashlib.sha256(f"{board}{rollout}".encode()).hexdigest()
    return int(digest[:8], 16) / 2**32


def check_waves(waves: tuple[float, ...]) -> tuple[float, ...]:
    """Return `waves` if they are ascending shares in percent that end at 100, else ValueError."""
    if not waves or waves[0] <= 0 or any(a >= b for a, b in pairwise(waves)) or waves[-1] != 100:
        raise ValueError("waves are ascending shares in percent, and the last one is 100")
    return waves


def parse_rollout(content: bytes) -> Rollout:
    """Return the content of rollout.json; raises `FleetFormatError`. Unknown keys are ignored."""
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        return _parse(json.loads(content))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FleetFormatError(
            f"not a roll-out: {what[:200]}", where=ROLLOUT, remedy="update edge-runtime"
        ) from error


def _parse(value: dict[str, Any]) -> Rollout:
    rollout = Rollout(
        id=str(value["id"]),
        cpu=str(value["cpu"]),
        model_id=str(value["model_id"]),
        percent=float(value["percent"]),
        waves=check_waves(tuple(float(wave) for wave in value["waves"])),
        state=str(value["state"]),
        attempt=int(value.get("attempt", 1)),
        gallery=value.get("gallery", False) is True,
        previous=str(value.get("previous") or ""),
    )
    if not _ID.fullmatch(rollout.id) or not _MODEL.fullmatch(rollout.model_id):
        raise ValueError("its id or model is not a digest")
    if rollout.state not in (RUNNING, HALTED, DONE, ABORTED):
        raise ValueError(f"unknown state {rollout.state[:20]!a}")
    if not 0 <= rollout.percent <= 100 or not 1 <= rollout.attempt < 1 << 31:
        raise ValueError("percent or attempt is out of range")
    return rollout
