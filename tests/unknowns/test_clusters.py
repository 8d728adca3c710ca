"""Sightings of unknown things form groups, whatever else the camera shows."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.fitting.quantized import Floats, unit
from edge_runtime.unknowns.clusters import Clusters

FEATURES = 256
THINGS = 8


class Scene:
    """What a camera shows: a background, which is most of it, and a thing that varies a little."""

    def __init__(self, seed: int, things: Floats) -> None:
        self._random = np.random.default_rng(seed)
        self._background = unit(self._random.normal(size=FEATURES))
        self._things = things

    def show(self, thing: int | None) -> Floats:
        """Return the features of a picture."""
        shown = 0 * self._background if thing is None else self._things[thing]
        varied = shown + 0.25 * unit(self._random.normal(size=FEATURES)) * (thing is not None)
        noise = 0.03 * unit(self._random.normal(size=FEATURES))
        return unit((self._background + 0.6 * varied + noise).astype(np.float32))


@pytest.fixture
def things() -> Floats:
    return unit(np.random.default_rng(0).normal(size=(THINGS, FEATURES)))


def _collect(clusters: Clusters, vector: Floats, camera: str, owners: dict[int, set[str]]) -> int:
    found, _ = clusters.nearest(vector, camera)
    group = len(owners) if found is None else found
    clusters.add(vector, camera, group)
    owners.setdefault(group, set())
    return group


def test_each_thing_before_one_wall_has_one_group(things: Floats) -> None:
    clusters, owners, scene = Clusters(FEATURES), dict[int, set[str]](), Scene(1, things)
    assert scene.show(0) @ scene.show(1) > 0.6  # the wall makes all pictures alike
    groups: dict[int | None, set[int]] = {}
    for _ in range(6):
        for thing in range(THINGS):
            for shown in (None, thing):  # the empty wall is seen most
                group = _collect(clusters, scene.show(shown), "door", owners)
                groups.setdefault(shown, set()).add(group)
                owners[group].add(str(shown))
    assert all(len(shown) == 1 for shown in owners.values()), owners
    assert len(groups[None]) == 1
    assert all(len(found) <= 2 for found in groups.values()), groups


def test_a_thing_is_found_again_before_another_camera(things: Floats) -> None:
    clusters, owners = Clusters(FEATURES), dict[int, set[str]]()
    scenes = {"door": Scene(1, things), "desk": Scene(2, things)}
    found: dict[tuple[str, int], set[int]] = {}
    for _ in range(5):
        for camera, scene in scenes.items():
            _collect(clusters, scene.show(None), camera, owners)
            for thing in range(THINGS):
                group = _collect(clusters, scene.show(thing), camera, owners)
                found.setdefault((camera, thing), set()).add(group)
    shared = [thing for thing in range(THINGS) if found["door", thing] & found["desk", thing]]
    assert len(shared) >= THINGS - 2
    for thing in range(THINGS):
        for other in range(thing):
            assert not found["door", thing] & found["desk", other]


def test_what_is_loaded_answers_as_before(things: Floats) -> None:
    clusters, scene = Clusters(FEATURES), Scene(3, things)
    for group, thing in enumerate((0, 1, 2)):
        for _ in range(4):
            clusters.add(scene.show(thing), "door", group)
    copy = Clusters(FEATURES)
    copy.load(clusters.cameras, [one for group in range(3) for one in clusters.of(group)])
    for thing in range(4):
        query = scene.show(thing)
        assert copy.nearest(query, "door") == pytest.approx(clusters.nearest(query, "door"))
    copy.remove(1)
    assert copy.nearest(scene.show(1), "door")[0] is None
    assert copy.nearest(scene.show(2), "door")[0] == 2
