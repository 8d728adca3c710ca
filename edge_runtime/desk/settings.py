"""The settings of a desk: the file desk.json in its folder."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edge_runtime.desk.signed import Lifetimes

FORMAT = 1
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_Days = Annotated[float, Meta(gt=0, le=3650)]


class Broker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The MQTT broker at which boards and desk meet."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    tls: bool = False
    ca_file: str = ""
    username: str = ""
    password_file: str = ""


class Days(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a signature is valid, in days."""

    root: _Days = 365.0
    targets: _Days = 90.0
    snapshot: _Days = 30.0
    timestamp: _Days = 3.0


class DeskSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of desk.json."""

    edge_runtime_desk: Annotated[int, Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    fleet: Annotated[str, Meta(pattern=_NAME)]
    broker: Broker | None = None
    days: Days = Days()
    most_pending: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    """Proposals of one board that may wait for a decision; the board sends others again later."""
    most_pending_together: Annotated[int, Meta(ge=1, le=10_000_000)] = 200_000
    """The same, of all boards."""
    name_again_s: Annotated[float, Meta(ge=0)] = 600.0
    """A decision that a board asks for again is published again at most this often."""

    @property
    def topic(self) -> str:
        """The parent of the fleet's topics."""
        return f"edge-runtime/fleet/{self.fleet}"

    @property
    def lifetimes(self) -> Lifetimes:
        """The lifetimes of signatures."""
        return Lifetimes(**msgspec.structs.asdict(self.days))

    def advertised(self, version: int) -> dict[str, object]:
        """Return the content of fleet.json, which boards read."""
        mqtt = None
        if self.broker:
            host, port, tls = self.broker.host, self.broker.port, self.broker.tls
            mqtt = {"host": host, "port": port, "tls": tls, "topic": self.topic}
        return {"fleet": self.fleet, "version": version, "mqtt": mqtt}


def parse_settings(text: bytes) -> DeskSettings:
    """Return the settings; raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=DeskSettings)


def settings_text(settings: DeskSettings) -> bytes:
    """Return the content of desk.json."""
    return msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n"
