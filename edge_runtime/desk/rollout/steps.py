"""Roll out a model: sign its bundle and gallery, widen the waves, halt, resume, and abort.

rollout.json, which is signed, is the state that boards see. The task "rollout" in desk.sqlite has
what only the desk needs. Each step can be repeated after a kill.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.bundle import require_verified, verify_files
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.publish import catch_up, publish_with
from edge_runtime.desk.repository import NewFile, Repository
from edge_runtime.desk.rollout.decision import (
    BoardReport,
    Decision,
    Limits,
    Progress,
    decide,
    progress,
)
from edge_runtime.desk.rollout.files import (
    archive,
    check_gallery,
    full_file,
    keep,
    kept,
    lost_between,
    model_of,
)
from edge_runtime.desk.store import reopen_accepted
from edge_runtime.errors import DeskError
from edge_runtime.fleet.waves import (
    ABORTED,
    DONE,
    HALTED,
    ROLLOUT,
    RUNNING,
    Rollout,
    parse_rollout,
)
from edge_runtime.gallery.backup import restore
from edge_runtime.trust.manifest import read_manifest

log = logging.getLogger(__name__)

TASK = "rollout"
WAVES = (1.0, 10.0, 50.0, 100.0)


@dataclass(frozen=True)
class Course:
    """What the desk remembers of a roll-out."""

    id: str
    since: float
    """When the present wave began, seconds since 1970."""
    wait_s: float
    failures: int
    why: str = ""
    """Why it halted."""

    @property
    def limits(self) -> Limits:
        """How careful it is."""
        return Limits(self.wait_s, self.failures)


@dataclass(frozen=True)
class Situation:
    """A roll-out as it is now."""

    rollout: Rollout
    course: Course
    progress: Progress


def start(
    desk: Desk,
    bundle: Path,
    *,
    cpu: str = "",
    gallery: Path | None = None,
    waves: tuple[float, ...] = WAVES,
    limits: Limits | None = None,
) -> Rollout:
    """Sign the `bundle` for boards with the target `cpu`, and begin with the first wave.

    `gallery` is the desk's gallery, moved to the bundle's model. Raises `EdgeRuntimeError`.
    """
    limits = limits or Limits()
    manifest = read_manifest(bundle)
    require_verified(bundle)
    verify_files(bundle, manifest)
    target, model_id = str(manifest["target"]["name"]), str(manifest["model"]["id"])
    if cpu and cpu != target:
        raise DeskError(
            f"compiled for {target}, not for {cpu}",
            where=bundle,
            remedy=f"make compile TARGET={cpu}, or --for {target}",
        )
    tar = archive(bundle, manifest)
    name = hashlib.sha256(tar).hexdigest()[:12]
    with desk.signing() as repository:
        before = _current(repository)
        if before and before.state in (RUNNING, HALTED):
            raise DeskError(
                f"roll-out {before.id} is {before.state}",
                where=desk.path,
                remedy="edge-runtime desk roll --abort, or --resume and wait",
            )
        check_gallery(desk, manifest["model"], gallery, bundle)
        version = catch_up(desk, repository)
        previous = before.id if before and before.state == DONE else ""
        attempt = before.attempt + 1 if before and before.id == name else 1
        rollout = Rollout(
            *(name, target, model_id, waves[0], waves, RUNNING, attempt, gallery is not None),
            previous=previous,
        )
        files = [NewFile(rollout.archive, tar, {"cpu": target, "model_id": model_id})]
        if gallery is not None:
            keep(gallery, kept(desk, name, "new"))
            content = full_file(gallery, version)
            files.append(NewFile(rollout.gallery_file, content, {"model_id": model_id}))
        _remember(desk, Course(name, time.time(), limits.wait_s, limits.failures))
        names = {file.name for file in files}
        drop = {each for each in repository.files if each.startswith("release/")} - names
        _publish(repository, rollout, files, drop)
    return rollout


def step(desk: Desk, boards: list[BoardReport] | None = None) -> Decision | None:
    """Continue a running roll-out if it is time; None if none runs. Raises `EdgeRuntimeError`."""
    present = _current(desk.repository())
    if present is None or present.state != RUNNING:  # the usual case: nothing is locked
        return None
    with desk.signing() as repository:
        rollout = _required(desk, repository)
        course, now = _course(desk, rollout), time.time()
        found = reports(desk) if boards is None else boards
        decision = decide(rollout, found, course.since, now, course.limits)
        if decision.action == "halt":
            _remember(desk, replace(course, why=decision.why))
            _publish(repository, replace(rollout, state=HALTED))
        elif decision.action == "advance":
            _remember(desk, replace(course, since=now))
            _publish(repository, replace(rollout, percent=decision.percent))
        elif decision.action == "finish":
            _adopt(desk, repository, rollout)
            _publish(repository, replace(rollout, state=DONE, percent=100.0))
        return decision


def resume(desk: Desk) -> Rollout:
    """Let boards that failed try again, and continue with the wave; raises `DeskError`."""
    with desk.signing() as repository:
        rollout = _required(desk, repository)
        if rollout.state != HALTED:
            raise DeskError(
                f"roll-out {rollout.id} is {rollout.state}, not halted",
                where=desk.path,
                remedy="only a halted one can be resumed",
            )
        course = _course(desk, rollout)
        _remember(desk, replace(course, since=time.time(), why=""))
        rollout = replace(rollout, state=RUNNING, attempt=rollout.attempt + 1)
        _publish(repository, rollout)
        return rollout


def abort(desk: Desk) -> Rollout:
    """Let all boards return to their previous release, and the desk to its previous gallery."""
    with desk.signing() as repository:
        rollout = replace(_required(desk, repository), state=ABORTED)
        _publish(repository, rollout)
        before = kept(desk, rollout.id, "before")
        if rollout.gallery and before.exists() and model_of(desk.gallery_path) == rollout.model_id:
            restore(desk.gallery_path, before, any_model=True)
            publish_with(desk, repository, f"roll-out {rollout.id} was aborted")
        return rollout


def situation(desk: Desk) -> Situation | None:
    """Return the present roll-out and how far its boards are; None without one."""
    rollout = _current(desk.repository())
    if rollout is None:
        return None
    return Situation(rollout, _course(desk, rollout), progress(rollout, reports(desk)))


def reports(desk: Desk) -> list[BoardReport]:
    """Return what each board last said of its roll-out."""
    with desk.store.reading() as connection:
        rows = connection.execute("SELECT name, last_seen, status FROM board").fetchall()
    return [_report(name, last_seen, status) for name, last_seen, status in rows]


def _report(name: str, last_seen: float, status: str) -> BoardReport:
    """Return the report in a board's status, which may say anything."""
    try:
        said: dict[str, Any] = json.loads(status)["rollout"]
        return BoardReport(
            name,
            str(said["cpu"]),
            last_seen,
            str(said["id"]),
            int(said["attempt"]),
            str(said["state"]),
            str(said["why"])[:200],
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return BoardReport(name, "", last_seen)


def _adopt(desk: Desk, repository: Repository, rollout: Rollout) -> None:
    """Make the gallery of the roll-out the desk's, and publish it; again after a kill."""
    if not rollout.gallery:
        return
    if model_of(desk.gallery_path) != rollout.model_id:
        keep(desk.gallery_path, kept(desk, rollout.id, "before"))
        reopen_accepted(desk.store)  # what the new gallery lacks is proposed again
        restore(desk.gallery_path, kept(desk, rollout.id, "new"), any_model=True)
    note, before = f"roll-out {rollout.id}", kept(desk, rollout.id, "before")
    if lost := lost_between(before, desk.gallery_path):
        note += f"; pictures added since it began, in {before} only: {lost}"
        log.warning("%s", note)
    publish_with(desk, repository, note)


# -- state ------------------------------------------------------------------------------------


def _current(repository: Repository) -> Rollout | None:
    return parse_rollout(repository.read(ROLLOUT)) if ROLLOUT in repository.files else None


def _required(desk: Desk, repository: Repository) -> Rollout:
    rollout = _current(repository)
    if rollout is None:
        raise DeskError(
            "no roll-out has been started", where=desk.path, remedy="edge-runtime desk roll BUNDLE"
        )
    return rollout


def _course(desk: Desk, rollout: Rollout) -> Course:
    try:
        course = Course(**json.loads(desk.store.task(TASK)))
    except (ValueError, TypeError):
        course = None
    if course is None or course.id != rollout.id:
        return Course(rollout.id, time.time(), Limits.wait_s, Limits.failures)
    return course


def _remember(desk: Desk, course: Course) -> None:
    desk.store.set_task(TASK, json.dumps(asdict(course)))


def _publish(
    repository: Repository,
    rollout: Rollout,
    files: list[NewFile] | None = None,
    drop: set[str] | None = None,
) -> None:
    new = NewFile(ROLLOUT, rollout.to_bytes(), {})
    repository.publish([*(files or ()), new], drop or ())
