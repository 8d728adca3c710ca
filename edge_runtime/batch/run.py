"""Hash the photos of folders: find them, hash what the journal does not know, write the output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from edge_runtime.batch.cluster import ClusterOptions, run_on_cluster
from edge_runtime.batch.journal import Journal
from edge_runtime.batch.output import check_output, failures_path, write_output
from edge_runtime.batch.pool import PHOTO_LIMIT_S, Pool
from edge_runtime.batch.tree import find
from edge_runtime.batch.work import Failed, Outcome, Setup, method_of
from edge_runtime.engine import open_engine
from edge_runtime.errors import PhotoError
from edge_runtime.system.memory import release_unused

COMMIT_S = 1.0
MOST_UNCOMMITTED = 512
"""How long and how many outcomes wait for a commit. A kill of this process loses them."""
MOST_LISTED = 20
"""Failures that the result contains; the file of failures has all."""


@dataclass(frozen=True)
class HashOptions:
    """How photos are hashed, and where."""

    model: str | None = None
    """The model or bundle; None: the one that `find_model` finds."""
    label: str | None = None
    """The label of all photos; None: the names of their folders."""
    views: bool = False
    """Hash all views of a photo, as `enroll` does."""
    features: bool = False
    """Store the pooled features beside the codes."""
    workers: int = 1
    """Processes of this machine."""
    photo_limit_s: float = PHOTO_LIMIT_S
    cluster: ClusterOptions | None = None
    """Hash on a cluster, and not in processes of this machine."""


@dataclass
class HashProgress:
    """How far a run is."""

    photos: int = 0
    """Found so far."""
    total: int | None = None
    """Photos that this run has to hash; None while it searches for photos."""
    done: int = 0
    """Those of `total` that were hashed or have failed."""
    failed: int = 0
    duplicates: int = 0


@dataclass
class HashResult:
    """The outcome of a run."""

    photos: int
    """All photos that were found, with those that cannot be used."""
    hashed: int
    """Those that this run hashed; the others were known from earlier runs."""
    digests: int
    """Different photos in the output."""
    codes: int
    """Codes in the output: one per view of these."""
    duplicates: int
    """Photos with the content of another photo."""
    failed: int
    failures: list[PhotoError] = field(default_factory=list)
    """The first of them."""
    failures_file: Path | None = None
    """All of them, as JSON lines."""


def hash_photos(
    paths: tuple[Path, ...],
    output: Path,
    options: HashOptions = HashOptions(),
    progress: Callable[[HashProgress], None] = lambda _progress: None,
) -> HashResult:
    """Write the codes of the photos in `paths` to `output`, each digest once.

    Every outcome is durable within about a second (`edge_runtime.batch.journal`), so a run that
    was ended in any way is continued by the next. `output` is written at the end, and is the same
    whatever happened before. Raises `NoPhotosError`, `ModelError`, `GalleryModelMismatchError`,
    `InputError`, `StorageError`, `ServiceError` for the cluster.
    """
    check_output(output)
    engine = open_engine(options.model)
    method = method_of(engine, features=options.features, views=options.views)
    engine.close()
    del engine
    release_unused()
    state = HashProgress()
    with closing(Journal(output, method)) as journal:
        for state.photos in journal.add(find(paths, options.label)):
            progress(state)
        before = journal.counts()
        state.total = before.waiting
        progress(state)
        if before.waiting:
            setup = Setup(options.model or "", method)
            for outcomes in _grouped(_outcomes(setup, journal, paths, options, before.waiting)):
                new = journal.record(outcomes)
                failed = sum(isinstance(each, Failed) for each in outcomes)
                state.done += len(outcomes)
                state.failed += failed
                state.duplicates += len(outcomes) - failed - new
                progress(state)
        codes = write_output(journal)
        after = journal.counts()
        failures = [
            PhotoError(what, where=photo, remedy=remedy)
            for photo, what, remedy in islice(journal.failures(), MOST_LISTED)
        ]
    return HashResult(
        photos=after.hashed + after.failed,
        hashed=after.hashed - before.hashed,
        digests=after.digests,
        codes=codes,
        duplicates=after.hashed - after.digests,
        failed=after.failed,
        failures=failures,
        failures_file=failures_path(output) if after.failed else None,
    )


def _outcomes(
    setup: Setup, journal: Journal, paths: tuple[Path, ...], options: HashOptions, count: int
) -> Iterator[Outcome | None]:
    """Yield the outcome of every photo that waits, and None from time to time."""
    tasks = journal.waiting()
    if options.cluster:
        yield from run_on_cluster(options.cluster, setup, paths, tasks, options.photo_limit_s)
        return
    with Pool(setup, min(options.workers, count), photo_limit_s=options.photo_limit_s) as pool:
        yield from pool.run(tasks)


def _grouped(outcomes: Iterable[Outcome | None]) -> Iterator[list[Outcome]]:
    """Yield lists of outcomes for one commit each."""
    group: list[Outcome] = []
    since_s = time.monotonic()
    for each in outcomes:
        if each is not None:
            group.append(each)
        if len(group) >= MOST_UNCOMMITTED or time.monotonic() - since_s > COMMIT_S:
            if group:
                yield group
            group, since_s = [], time.monotonic()
    if group:
        yield group
