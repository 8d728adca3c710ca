"""The board's part in a roll-out: take what is signed, prepare the gallery, and ask root for it.

A gallery belongs to one model, so each model has its own file: NAME.sqlite is the first one's, and
NAME-MODEL.sqlite, with twelve digits of the model's id, that of each later one. A release leads to
its own (deploy/rollout.py), so a rollback finds the earlier gallery as it was. No file is ever
replaced or deleted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import (
    EdgeRuntimeError,
    FleetContentError,
    FleetUnreachableError,
    storage_error,
)
from edge_runtime.fleet.apply import apply_version
from edge_runtime.fleet.operations import read_version
from edge_runtime.fleet.spool import Answer, Spool
from edge_runtime.fleet.waves import ABORTED, HALTED, Rollout, parse_rollout
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.shared import read_fleet
from edge_runtime.model import InputSpec, ModelInfo

OTHER, WAITING, ASKED, WORKING = "other", "waiting", "asked", "working"
READY, FAILED, BACK, LEFT = "ready", "failed", "back", "left"
_OWN = re.compile(r"(?P<stem>.+)-[0-9a-f]{12}")

Report = dict[str, object]
Fetch = Callable[[str], Path]
"""Returns the path of a signed file by its name, fetched and checked."""


class Rollouts:
    """The roll-outs of one board."""

    def __init__(self, board: str, gallery: Path, spool: Spool | None = None) -> None:
        """`gallery` is the present one."""
        self.board, self.gallery = board, gallery
        self.spool = spool or Spool(home_of(gallery).with_name("rollout"))
        self.report: Report = {}
        """For the board's status, since the last `follow`: id, attempt, state, why, cpu."""

    def follow(
        self, content: bytes, fetch: Fetch, discard: Callable[[Path], None] = lambda _: None
    ) -> Report:
        """Do this board's part in the roll-out that `content`, a signed rollout.json, describes.

        Call it at every poll: it continues what it has begun. Nothing is raised for what the next
        poll may repair; the report says it. `discard` gets fetched files that were used.
        """
        state, why, rollout = WAITING, "", None
        try:
            rollout = parse_rollout(content)
            state, why = self._follow(rollout, fetch, discard)
        except FleetUnreachableError as error:
            why = str(error)
        except EdgeRuntimeError as error:
            state, why = FAILED, str(error)
        except OSError as error:
            state, why = FAILED, str(storage_error(error, self.spool.folder) or error)
        self.report = {
            "id": rollout.id if rollout else "",
            "attempt": rollout.attempt if rollout else 0,
            "state": state,
            "why": why,
            "cpu": self.spool.cpu,
        }
        return self.report

    def _follow(
        self, rollout: Rollout, fetch: Fetch, discard: Callable[[Path], None]
    ) -> tuple[str, str]:
        answer = self.spool.answer()
        mine = answer.id == rollout.id
        if rollout.state == ABORTED:
            return self._go_back(rollout, answer) if mine else (WAITING, "")
        if mine and answer.attempt >= rollout.attempt and answer.action == "install":
            return self._answered(answer)
        if not self.spool.accepts:
            return OTHER, "this board has no releases: it was not set up by make deploy"
        if self.spool.cpu != rollout.cpu:
            return OTHER, ""
        if mine and answer.state == READY and answer.release == self.spool.release:
            return READY, ""
        if rollout.state == HALTED or not rollout.includes(self.board):
            return WAITING, ""
        asked = self.spool.pending()
        if (asked.get("id"), asked.get("attempt")) == (rollout.id, rollout.attempt) and (
            asked.get("action") == "install"
        ):
            return self._wait()
        gallery = self._prepare_gallery(rollout, fetch) if rollout.gallery else ""
        archive = fetch(rollout.archive)
        self.spool.put(rollout.id, rollout.attempt, archive, gallery)
        discard(archive)
        return ASKED, ""

    def _answered(self, answer: Answer) -> tuple[str, str]:
        if answer.state != WORKING:
            self.spool.clean()
        else:
            self.spool.remind()
        if answer.state == READY and answer.release != self.spool.release:
            return LEFT, f"the board runs release {self.spool.release} now"
        return answer.state, answer.why

    def _go_back(self, rollout: Rollout, answer: Answer) -> tuple[str, str]:
        if answer.action == "back" and answer.attempt >= rollout.attempt:
            return answer.state, answer.why
        asked = self.spool.pending()
        if asked.get("action") == "back" and asked.get("attempt") == rollout.attempt:
            return self._wait()
        self.spool.put_back(rollout.id, rollout.attempt)
        return ASKED, ""

    def _wait(self) -> tuple[str, str]:
        """Ask again: the path unit may have been off, or at work."""
        self.spool.remind()
        return ASKED, (
            "root has not taken it yet (once, on the board: "
            "sudo systemctl enable --now edge-runtime-rollout.path edge-runtime-rollout.service)"
        )

    # -- the gallery of the new model ----------------------------------------------------------

    def _prepare_gallery(self, rollout: Rollout, fetch: Fetch) -> str:
        """Bring the gallery of the roll-out's model to the signed version; return its name."""
        path = gallery_for(self.gallery, rollout.model_id)
        with fetch(rollout.gallery_file).open("rb") as file:
            head, operations = read_version(file)
            if head.model_id != rollout.model_id or head.base is not None:
                raise FleetContentError(
                    "not a full file for the model of the roll-out", where=rollout.gallery_file
                )
            model = ModelInfo(
                head.model_id, "", 0, "", "", head.bits, 0.5, 0, InputSpec()
            )  # a gallery keeps its id and bits
            with Gallery(path, model, create=True) as gallery:
                with gallery.reading() as connection:
                    state = read_fleet(connection)
                if state is None or state.version < head.version:
                    apply_version(gallery, head, operations)
        link_side_files(self.gallery, path)
        return path.name


def home_of(gallery: Path) -> Path:
    """Return the first gallery of this board: what others are beside and named after."""
    found = _OWN.fullmatch(gallery.stem)
    return gallery.with_name(found["stem"] + gallery.suffix) if found else gallery


def siblings(gallery: Path) -> Iterator[Path]:
    """Yield the board's other galleries, one for each model."""
    home = home_of(gallery)
    for path in sorted((home, *home.parent.glob(f"{home.stem}-*{home.suffix}"))):
        if path != gallery and home_of(path) == home and path.is_file():
            yield path


def gallery_for(gallery: Path, model_id: str) -> Path:
    """Return the path of the board's gallery for a model; it may not exist yet."""
    for path in (gallery, *siblings(gallery)):
        with suppress(EdgeRuntimeError), Gallery(path, read_only=True) as found:
            if found.model_id == model_id:
                return path
    home = home_of(gallery)
    return home.with_name(f"{home.stem}-{model_id[:12]}{home.suffix}")


def link_side_files(gallery: Path, new: Path) -> None:
    """Lead the fleet's state and the history beside `new` to those of the board's first gallery."""
    home = home_of(gallery)
    for name, target in (
        (f"{new.name}.fleet", f"{home.name}.fleet"),
        (f"{new.stem}.history.sqlite", f"{home.stem}.history.sqlite"),
    ):
        link = new.with_name(name)
        if new != home and not link.is_symlink() and not link.exists():
            link.symlink_to(target)
