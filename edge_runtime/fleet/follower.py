"""Follow a fleet: poll for a signed version, fetch what is missing, apply it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import (
    EdgeRuntimeError,
    FleetContentError,
    FleetFormatError,
    FleetSignatureError,
    FleetUnreachableError,
    storage_error,
)
from edge_runtime.fitting.prior import read_prior
from edge_runtime.fleet.apply import Applied, apply_versions
from edge_runtime.fleet.content import gallery_digest
from edge_runtime.fleet.following.joined import ROOT_FILE, folder_of, give_to_owner, read_joined
from edge_runtime.fleet.following.plan import Plan, make_plan
from edge_runtime.fleet.following.repository import Repository
from edge_runtime.fleet.kinds import Head, Operation
from edge_runtime.fleet.operations import read_version
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.rows import Meta, bind
from edge_runtime.gallery.schema import connect, translated
from edge_runtime.gallery.shared import FleetState, count_pending, read_fleet
from edge_runtime.model import find_model, find_prior

log = logging.getLogger(__name__)

FLEET_FILE = "fleet.json"
ROLLOUT_FILE = "rollout.json"
_TOPIC = re.compile(r"[A-Za-z0-9._/-]{1,256}")
CHECK_S = 86_400.0
"""The gallery is compared with the signed content at the start, and this often."""


@dataclass(frozen=True)
class FleetInfo:
    """What the fleet's own signed file says."""

    fleet: str
    mqtt: dict[str, Any] | None = None


@dataclass(frozen=True)
class BoardState:
    """What the board has."""

    meta: Meta
    fleet: FleetState | None
    pending: int

    @property
    def version(self) -> int:
        """The version that was applied last; 0 before the first one."""
        return 0 if self.fleet is None else self.fleet.version


@dataclass(frozen=True)
class Poll:
    """The outcome of one poll."""

    newest: int
    """The newest version for this board's model."""
    applied: Applied | None
    other_model: str
    """The model of a still newer version, which a roll-out must bring first."""


def board_state(gallery: Path) -> BoardState:
    """Return what the gallery file has; raises `GalleryError`."""
    with closing(connect(gallery, create=False, read_only=True)) as connection, translated(gallery):
        meta = bind(connection, gallery, None)
        return BoardState(meta, read_fleet(connection), count_pending(connection))


class Follower:
    """Follows the fleet that the board with this gallery has joined. For one thread."""

    def __init__(self, gallery: Path, *, on_rollout: Callable[[bytes], None] | None = None) -> None:
        """`on_rollout` gets the content of the signed rollout.json at every poll.

        Raises `NotJoinedError`, `ExtraMissingError`, `FleetSignatureError` or `StorageError`.
        """
        self.gallery = gallery
        self.joined = read_joined(gallery)
        folder = folder_of(gallery)
        try:
            root = (folder / ROOT_FILE).read_bytes()
        except OSError as error:
            raise storage_error(error, folder / ROOT_FILE) or error from error
        self.repository = Repository(self.joined.url, folder, root)
        self.info = FleetInfo(self.joined.fleet)
        with suppress(EdgeRuntimeError):  # a board without a clock reports this to the broker
            if (known := self.repository.path_of(FLEET_FILE)).is_file():
                self._read_info(known)
        self._on_rollout = on_rollout
        self._checked_s: float | None = None

    def poll(self) -> Poll:
        """Poll once, and apply what is new.

        Raises `FleetError`, `GalleryError` or `StorageError`; the gallery has its version or the
        newest one.
        """
        try:
            if self.repository.refresh():
                self._read_info(self.repository.fetch(FLEET_FILE))
            poll = self._follow()
            self._fetch_rollout()
        finally:
            give_to_owner(self.gallery)
        return poll

    # -- the fleet's own file -----------------------------------------------------------------

    def _read_info(self, path: Path) -> None:
        """Read the fleet's own file, which was verified; raises `FleetSignatureError`."""
        try:
            values = json.loads(path.read_bytes())
            if not isinstance(values, dict):
                raise TypeError("not an object")
        except OSError as error:
            raise storage_error(error, path) or error from error
        except (ValueError, TypeError, RecursionError) as error:
            raise FleetSignatureError(
                f"{FLEET_FILE} is malformed: {error}", where=self.repository.url
            ) from error
        name, mqtt = values.get("fleet"), values.get("mqtt")
        if not isinstance(name, str) or (self.joined.fleet and name != self.joined.fleet):
            raise FleetSignatureError(
                f"these are the files of the fleet {name!r}, not of {self.joined.fleet!r}",
                where=self.repository.url,
                remedy="join again: edge-runtime fleet join",
            )
        self.info = FleetInfo(name, mqtt if _is_mqtt(mqtt) else None)

    # -- versions -----------------------------------------------------------------------------

    def _follow(self) -> Poll:
        state = board_state(self.gallery)
        drifted = self._has_drifted(state)
        plan = self._plan(state, full=drifted)
        applied = None
        if plan.names:
            try:
                applied = self._apply(plan)
            except (FleetContentError, FleetFormatError) as error:
                log.warning("%s", error)
                applied = self._apply(self._plan(state, full=True))
        elif plan.newest_is_missing(state.version):
            raise FleetUnreachableError(
                f"version {plan.version} is signed, but no files lead to it from {state.version}",
                where=self.repository.url,
                remedy="the desk must publish a full file",
            )
        return Poll(plan.version, applied, plan.other_model)

    def _plan(self, state: BoardState, *, full: bool) -> Plan:
        targets = self.repository.targets
        return make_plan(targets, state.meta.model_id, state.version, full=full)

    def _has_drifted(self, state: BoardState) -> bool:
        """Return whether shared pictures were changed by hand; checked once a day."""
        if state.fleet is None:
            return False
        now = time.monotonic()
        if self._checked_s is not None and now - self._checked_s < CHECK_S:
            return False
        with Gallery(self.gallery, read_only=True) as opened:
            drifted = gallery_digest(opened) != state.fleet.content
        if drifted:
            log.warning("%s: shared pictures were changed here; repairing them", self.gallery)
        self._checked_s = None if drifted else now  # until it is repaired, at every poll
        return drifted

    def _apply(self, plan: Plan) -> Applied:
        paths = [self.repository.fetch(name) for name in plan.names]
        try:
            with Gallery(self.gallery) as opened:
                applied = apply_versions(opened, _versions(plan.names, paths))
                opened.checkpoint()
                if applied.changed:
                    _refit(opened)
        finally:
            for path in paths:
                self.repository.discard(path)
        return applied

    # -- roll-outs ----------------------------------------------------------------------------

    def _fetch_rollout(self) -> None:
        """Hand the signed rollout.json over, if there is one."""
        if self._on_rollout is not None and ROLLOUT_FILE in self.repository.targets:
            self._on_rollout(self.repository.fetch(ROLLOUT_FILE).read_bytes())


def _versions(
    names: Sequence[str], paths: Sequence[Path]
) -> Iterator[tuple[Head, Iterator[Operation]]]:
    """Yield versions from files, which are open while their operations are read."""
    for name, path in zip(names, paths, strict=True):
        with path.open("rb") as file:
            head, operations = read_version(file)
            number = re.search(r"\d+", name)
            if number is None or head.version != int(number[0]):
                raise FleetFormatError(f"{name} contains version {head.version}", where="line 1")
            yield head, operations


def _is_mqtt(value: object) -> bool:
    """Return whether `value` names a broker and a topic."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("host"), str)
        and isinstance(value.get("port"), int)
        and 0 < value["port"] < 1 << 16
        and isinstance(value.get("topic"), str)
        and _TOPIC.fullmatch(value["topic"]) is not None
    )


def _refit(gallery: Gallery) -> None:
    """Fit the code and the similarity to the new content, as an enrollment does."""
    try:
        with gallery.reading() as connection:
            row = connection.execute("SELECT length(value) FROM feature LIMIT 1").fetchone()
        if row is not None:
            found = find_prior(find_model())
            gallery.refit_if_due(None if found is None else read_prior(found, row[0]))
    except EdgeRuntimeError as error:  # the version stays applied
        log.warning("the code was not fitted to the new content: %s", error)
