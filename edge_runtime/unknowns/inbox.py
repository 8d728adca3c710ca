"""The inbox: adds sightings to groups, keeps pictures within bounds, and gives them to be named.

An inbox belongs to one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import NotEnrolledError, PhotoError
from edge_runtime.fitting.quantized import quantize
from edge_runtime.image import Image
from edge_runtime.image.quality import photo_fault
from edge_runtime.model import ModelInfo
from edge_runtime.settings.unknowns import UnknownsSettings
from edge_runtime.unknowns.clusters import SAME_VIEW, CameraMean, Clusters
from edge_runtime.unknowns.pictures import least_useful, likeness, small_jpeg
from edge_runtime.unknowns.sightings import Share, Sighting, view_of
from edge_runtime.unknowns.store import Store, StoredPicture, Thing, length_of

MOST_OF_ONE = 12
"""Pictures of one thing."""
FEW = 4
"""A thing with at most this number of pictures loses none to make room while another has more."""
MOST_DISMISSED = 100
"""Dismissed things that are remembered."""
FLUSH_S = 30.0
"""Counts of things that are shown already are written at least this often."""
EMPTY_SHARE, EMPTY_S = 0.5, 120.0
"""What a camera shows for more than this share of the time, after these seconds, is its empty
scene."""
FORGET_S = 86400.0
"""After these seconds, the times of a camera are halved: a new empty scene is noticed in a day."""
DAY_S = 86400.0


@dataclass(frozen=True)
class Group:
    """A group as it is shown."""

    thing: Thing
    pictures: tuple[StoredPicture, ...]
    """The newest first."""
    empty: bool
    """Whether a camera shows it most of the time."""


@dataclass(frozen=True)
class Listing:
    """What the inbox contains."""

    groups: list[Group]
    """What was seen most comes first."""
    pictures: int
    bytes: int


class Inbox:
    """The groups of unknown things in one file."""

    def __init__(self, path: Path, model: ModelInfo, settings: UnknownsSettings) -> None:
        """Open the file; raises `StorageError` or `DamagedError`."""
        self.settings = settings
        self._bits = model.bits
        self.store = Store(path, model)
        self._clusters = Clusters(length_of(model))
        try:
            contents = self.store.contents()
        except BaseException:
            self.store.close()
            raise
        self._things = contents.things
        self._seconds = contents.camera_seconds
        self._clusters.load(contents.cameras, contents.centroids)
        self._shown: dict[str, int] = {}
        """The last thing that each region showed."""
        self._unwritten: set[int] = set()
        self._views_unwritten: set[str] = set()
        self._written_s = time.monotonic()

    @property
    def waiting(self) -> int:
        """The number of things that are shown."""
        return sum(self._is_shown(thing) for thing in self._things.values())

    def close(self) -> None:
        """Write what is not written yet, and close the file."""
        try:
            if self._unwritten or self._views_unwritten:
                with self.store.writing():
                    self._write()
        finally:
            self.store.close()

    # -- what the cameras show ----------------------------------------------------------------

    def add(self, sighting: Sighting) -> None:
        """Add a sighting, unless the picture is dark, blurred or uniform."""
        view = view_of(sighting.origin)
        self._shown.pop(view, None)
        try:
            image = sighting.picture.image
            if photo_fault(image) is not None:
                return
        except PhotoError:
            return
        found, _ = self._clusters.nearest(sighting.vector, view)
        with self.store.writing():
            thing = self._things[found] if found is not None else self._begin(sighting.taken_s)
            thing.sightings += 1
            thing.last_s = sighting.taken_s
            self._shown[view] = thing.id
            self._clusters.add(sighting.vector, view, thing.id)
            self._unwritten.add(thing.id)
            self._views_unwritten.add(view)
            changed = not thing.dismissed and self._keep(sighting, thing, image)
            few = not thing.dismissed and thing.sightings <= self.settings.least
            if changed or few or time.monotonic() - self._written_s >= FLUSH_S:
                self._write()
                self._make_room(thing.id)

    def count(self, share: Share) -> None:
        """Count for how long a region has shown the last thing."""
        total_s = self._seconds.get(share.view, 0.0) + share.total_s
        self._seconds[share.view] = total_s
        self._views_unwritten.add(share.view)
        thing = self._shown.get(share.view)
        for one in self._clusters.of(thing) if thing is not None else ():
            if one.camera == share.view:
                one.seconds += share.still_s
                self._unwritten.add(one.group)
        if total_s > FORGET_S:
            self._seconds[share.view] /= 2
            for one in self._clusters.before(share.view):
                one.seconds /= 2
                self._unwritten.add(one.group)

    def _begin(self, seen_s: float) -> Thing:
        thing = self.store.new_thing(seen_s)
        self._things[thing.id] = thing
        return thing

    def _keep(self, sighting: Sighting, thing: Thing, image: Image) -> bool:
        """Keep a picture if it adds something; return whether it was kept."""
        kept = self.store.pictures(thing.id)
        features = sighting.embedding.features
        code = sighting.embedding.code
        quantized = None if features is None else quantize(features)
        origin = sighting.origin
        new = StoredPicture(
            *(0, thing.id, sighting.taken_s, origin.camera, origin.region, code, quantized)
        )
        alike = likeness([*kept, new], self._bits)[-1, :-1]
        if len(alike) and alike.max() >= SAME_VIEW:
            same = kept[int(alike.argmax())]
            if sighting.taken_s - same.taken_s < DAY_S:
                return False
            self.store.remove_pictures([same.id])
        elif len(kept) >= MOST_OF_ONE:
            self.store.remove_pictures([least_useful(kept, self._bits).id])
        self.store.add_picture(new, small_jpeg(image, self.settings.size))
        return True

    # -- bounds -------------------------------------------------------------------------------

    def _make_room(self, current: int) -> None:
        """Remove what is too old or too much, inside `writing`; `current` was just seen."""
        self._remove_old()
        limit = int(self.settings.megabytes * 1e6)
        while True:
            count, used = self.store.usage()
            if count <= self.settings.pictures and used <= limit:
                return
            if not self._remove_one(current):
                return

    def _remove_old(self) -> None:
        oldest_s = time.time() - self.settings.days * DAY_S
        by_thing: dict[int, list[StoredPicture]] = {}
        for picture in self.store.pictures():
            by_thing.setdefault(picture.thing, []).append(picture)
        self.store.remove_pictures(
            one.id for ones in by_thing.values() for one in ones if one.taken_s < oldest_s
        )
        for thing in list(self._things.values()):
            pictures = by_thing.get(thing.id, [])
            if not thing.dismissed and all(one.taken_s < oldest_s for one in pictures):
                self._remove(thing.id)
        dismissed = sorted(
            (one for one in self._things.values() if one.dismissed), key=lambda one: one.last_s
        )
        for thing in dismissed[: max(len(dismissed) - MOST_DISMISSED, 0)]:
            self._remove(thing.id)

    def _remove_one(self, current: int) -> bool:
        """Remove the least useful picture, or the least useful thing; False if nothing is left."""
        by_thing: dict[int, list[StoredPicture]] = {}
        for picture in self.store.pictures():
            by_thing.setdefault(picture.thing, []).append(picture)
        if not by_thing:
            return False
        largest = max(by_thing.values(), key=len)
        if len(largest) <= FEW:
            rest = [self._things[thing] for thing in by_thing if thing != current]
            if rest:
                rest.sort(key=lambda one: (one.sightings >= self.settings.least, one.last_s))
                self._remove(rest[0].id)
                return True
            largest = by_thing[current]
        self.store.remove_pictures([least_useful(largest, self._bits).id])
        if len(largest) == 1:
            self._remove(largest[0].thing)
        return True

    # -- answers ------------------------------------------------------------------------------

    def listing(self) -> Listing:
        """Return the things that were seen often enough, with their pictures."""
        by_thing: dict[int, list[StoredPicture]] = {}
        for picture in self.store.pictures():
            by_thing.setdefault(picture.thing, []).insert(0, picture)
        shown = [
            Group(thing, tuple(by_thing[thing.id]), self._is_empty(thing.id))
            for thing in self._things.values()
            if thing.id in by_thing and self._is_shown(thing)
        ]
        shown.sort(key=lambda group: (-group.thing.sightings, group.thing.id))
        return Listing(shown, *self.store.usage())

    def selected(
        self, groups: Sequence[int], pictures: Sequence[int], most: int
    ) -> list[tuple[StoredPicture, bytes]]:
        """Return the pictures of groups and single pictures; raises `NotEnrolledError`.

        If these are more than `most`, the newest of each group are returned.
        """
        self._check(groups, pictures)
        places: dict[int, int] = {}
        ordered = []
        for picture in reversed(self.store.pictures()):
            if picture.thing in groups or picture.id in pictures:
                place = places[picture.thing] = places.get(picture.thing, -1) + 1
                ordered.append((place, picture))
        ordered.sort(key=lambda pair: pair[0])
        return [(picture, self.store.jpeg(picture.id)) for _, picture in ordered[:most]]

    def forget(self, groups: Sequence[int], pictures: Sequence[int]) -> None:
        """Remove groups and single pictures, which have a name now; unknown ids are ignored."""
        with self.store.writing():
            self.store.remove_pictures(pictures)
            for thing in groups:
                if thing in self._things:
                    self._remove(thing)
            self._remove_without_pictures()

    def dismiss(self, groups: Sequence[int], pictures: Sequence[int]) -> None:
        """Remove groups permanently, and single pictures; raises `NotEnrolledError`.

        A dismissed group, and one that has lost all its pictures, is remembered and not collected
        again. A single picture is removed from its group.
        """
        self._check(groups, pictures)
        before = {one.thing for one in self.store.pictures()}
        with self.store.writing():
            self.store.remove_pictures(pictures)
            gone = before - {one.thing for one in self.store.pictures()}
            things = [self._things[thing] for thing in {*groups, *gone}]
            for thing in things:
                self.store.remove_pictures(one.id for one in self.store.pictures(thing.id))
                thing.dismissed = True
                self._unwritten.add(thing.id)
            self._write()

    def _check(self, groups: Sequence[int], pictures: Sequence[int]) -> None:
        known = {one.id for one in self.store.pictures()}
        for thing in groups:
            if thing not in self._things or self._things[thing].dismissed:
                raise NotEnrolledError(f"there is no group {thing}", where="the inbox")
        for picture in pictures:
            if picture not in known:
                raise NotEnrolledError(f"there is no picture {picture}", where="the inbox")

    def _is_shown(self, thing: Thing) -> bool:
        return not thing.dismissed and thing.sightings >= self.settings.least

    def _is_empty(self, thing: int) -> bool:
        for one in self._clusters.of(thing):
            total_s = self._seconds.get(one.camera, 0.0)
            if total_s >= EMPTY_S and one.seconds > EMPTY_SHARE * total_s:
                return True
        return False

    # -- internals ----------------------------------------------------------------------------

    def _remove_without_pictures(self) -> None:
        kept = {one.thing for one in self.store.pictures()}
        for thing in list(self._things.values()):
            if not thing.dismissed and thing.id not in kept:
                self._remove(thing.id)

    def _remove(self, thing: int) -> None:
        self.store.remove_thing(thing)
        self._clusters.remove(thing)
        del self._things[thing]
        self._unwritten.discard(thing)
        self._shown = {view: one for view, one in self._shown.items() if one != thing}

    def _write(self) -> None:
        """Write changed counts, inside `writing`."""
        things = [self._things[thing] for thing in self._unwritten]
        centroids = [one for thing in things for one in self._clusters.of(thing.id)]
        cameras: Iterable[tuple[str, CameraMean, float]] = (
            (view, self._clusters.mean_of(view), self._seconds.get(view, 0.0))
            for view in self._views_unwritten
        )
        self.store.write(things, centroids, cameras)
        self._unwritten, self._views_unwritten = set(), set()
        self._written_s = time.monotonic()
