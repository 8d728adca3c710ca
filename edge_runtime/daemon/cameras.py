"""Open the cameras and regions that the configuration names, and change them while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_runtime.camera import CameraOptions, parse_source
from edge_runtime.camera.base import Source
from edge_runtime.camera.recovery import RetryPolicy, State
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.watcher import CameraWatcher, RegionWatcher
from edge_runtime.image.region import Area
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider, Origin
from edge_runtime.settings import Settings, read_secret
from edge_runtime.settings.camera import CameraSettings, RegionSettings


@dataclass(frozen=True)
class _Wanted:
    """What one camera needs. Equal values mean that it can stay open across a reload."""

    settings: CameraSettings
    password: str = field(repr=False)

    def source(self) -> Source:
        """Return its source; raises `EdgeRuntimeError` if there can be none."""
        camera = self.settings
        options = CameraOptions(
            *(camera.width, camera.height, camera.fps, camera.loop, camera.real_time),
            password=self.password,
        )
        return parse_source(camera.source, options)


class Cameras:
    """All cameras of the daemon. Used on the main loop's thread."""

    def __init__(self, settings: Settings) -> None:
        """Read what the configuration names; raises `EdgeRuntimeError`. Nothing is opened yet.

        So a wrong name is reported before the network is loaded.
        """
        self._condition = threading.Condition()
        self._wanted = _wanted(settings)
        self._sources = {name: each.source() for name, each in self._wanted.items()}
        self.watchers: list[CameraWatcher] = []

    def open(self, settings: Settings, pipeline: Pipeline, board: str) -> list[CameraWatcher]:
        """Return the watchers; each region gets a copy of `pipeline`."""
        self.watchers = [
            CameraWatcher(
                self._supervisor(self._wanted[name].settings, source),
                [
                    _region(pipeline, Origin(board, name, region), part)
                    for region, part in _regions_of(settings, name).items()
                ],
            )
            for name, source in self._sources.items()
        ]
        return self.watchers

    def settings_of(self, name: str) -> CameraSettings:
        """Return the settings of a camera."""
        return self._wanted[name].settings

    def prepare(self, settings: Settings, pipeline: Pipeline, board: str) -> CameraChange:
        """Read what the new configuration names, and change nothing yet.

        Raises `EdgeRuntimeError`.
        """
        wanted = _wanted(settings)
        given_up = {
            each.name
            for each in self.watchers
            if each.camera.state is State.STOPPED and each.camera.source.live
        }
        sources = {
            name: each.source()
            for name, each in wanted.items()
            if self._wanted.get(name) != each or name in given_up
        }

        def apply(close_s: float) -> list[CameraWatcher]:
            before = {each.name: each for each in self.watchers}
            gone = [before[name].camera for name in before if name in sources or name not in wanted]
            close_all(gone, close_s)
            after = []
            for name, each in wanted.items():
                old = before.get(name)
                supervisor = (
                    self._supervisor(each.settings, sources[name])
                    if old is None or name in sources
                    else old.camera
                )
                # What a region has seen through another source is never shown, or enrolled, as its.
                same_source = old is not None and old.camera is supervisor
                kept = (
                    {one.origin.region: one for one in old.regions} if old and same_source else {}
                )
                regions = []
                for region, part in _regions_of(settings, name).items():
                    new = _region(pipeline, Origin(board, name, region), part)
                    same = kept.get(region)
                    unchanged = same is not None and _is_same(same, new)
                    regions.append(same if same is not None and unchanged else new)
                after.append(CameraWatcher(supervisor, regions))
            self._wanted, self.watchers = wanted, after
            return after

        live = all(
            sources[each.name].live if each.name in sources else each.camera.source.live
            for each in self.watchers
            if each.name in wanted
        ) and all(source.live for source in sources.values())
        return CameraChange(apply, bool(sources) or wanted.keys() != self._wanted.keys(), live)

    def _supervisor(self, camera: CameraSettings, source: Source) -> CameraSupervisor:
        return CameraSupervisor(
            source,
            policy=RetryPolicy(
                camera.retry_shortest_s, camera.retry_longest_s, camera.retry_budget
            ),
            first_frame_s=camera.first_frame_s,
            next_frame_s=camera.next_frame_s,
            wait=camera.wait,
            condition=self._condition,
        )


@dataclass(frozen=True)
class CameraChange:
    """What a new configuration changes."""

    apply: Callable[[float], list[CameraWatcher]]
    """Closes what has changed, within the given seconds; returns the new watchers."""
    reopens: bool
    """Whether a camera is closed or opened."""
    live: bool
    """Whether all sources will be live."""


def close_all(cameras: list[CameraSupervisor], wait_s: float) -> None:
    """Close cameras at the same time, within about `wait_s`."""
    threads = [threading.Thread(target=each.close, args=(wait_s,)) for each in cameras[1:]]
    for thread in threads:
        thread.start()
    for camera in cameras[:1]:
        camera.close(wait_s)
    for thread in threads:
        thread.join()


def _wanted(settings: Settings) -> dict[str, _Wanted]:
    return {
        name: _Wanted(each, read_secret(each.password_file) if each.password_file else "")
        for name, each in settings.all_cameras().items()
    }


def _regions_of(settings: Settings, camera: str) -> dict[str | None, RegionSettings | None]:
    """Return the regions of a camera by name; without any, the whole frame."""
    found: dict[str | None, RegionSettings | None] = {}
    found.update(settings.regions_of(camera).items())
    return found or {None: None}


def _region(pipeline: Pipeline, origin: Origin, region: RegionSettings | None) -> RegionWatcher:
    labels = region.labels if region and region.labels else None
    area = Area(*region.area) if region else None
    return RegionWatcher(pipeline.for_labels(labels), Decider(origin=origin), area)


def _is_same(old: RegionWatcher, new: RegionWatcher) -> bool:
    return (old.origin, old.area, old.labels) == (new.origin, new.area, new.labels)
