"""The public API: a `Recognizer` joins an engine, a gallery and cameras. docs/API.md describes it.

It adds no logic of its own: enrollment is `edge_runtime.enroll`, a query is one pass along the
`Pipeline`, and a camera is watched by the same `Daemon` that `edge-runtime run` uses.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

from edge_runtime.camera import CameraOptions, Capture, parse_source
from edge_runtime.camera.base import Source
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.loop import Daemon
from edge_runtime.engine import Engine, open_engine
from edge_runtime.enroll import (
    EnrollOptions,
    EnrollResult,
    enroll_frames,
)
from edge_runtime.errors import InputError
from edge_runtime.fitting.calibration import FALSE_NAME_RATE
from edge_runtime.gallery import Counts, Gallery, check_label, default_path
from edge_runtime.image.change_gate import ChangeGate, GateOptions
from edge_runtime.image.decode import Photo, load_photo
from edge_runtime.labeled_files import LabeledFiles, labeled_files
from edge_runtime.position import Position, QueryPosition
from edge_runtime.recognition.pipeline import FusedResult, Pipeline
from edge_runtime.recognition.smoothing import WINDOW, Decider
from edge_runtime.recognition.voting import NEIGHBORS, FusionMethod
from edge_runtime.types import QueryResult
from edge_runtime.watch import Watch

if TYPE_CHECKING:
    from edge_runtime.clips.query import ClipResult

StrPath = str | os.PathLike[str]
Camera = int | StrPath | Source
"""A camera's number, what `edge-runtime run --camera` accepts, or a `Source` of your own."""


class Recognizer:
    """Enrolls photos in a gallery, and recognizes them in photos and in a camera's frames.

    It serves the thread that made it. Every call blocks until it is done. Every error is an
    `EdgeRuntimeError`.
    """

    engine: Engine
    gallery: Gallery

    def __init__(
        self,
        gallery: StrPath | None = None,
        *,
        model: StrPath | None = None,
        engine: Engine | None = None,
        threads: int = 1,
        neighbors: int = NEIGHBORS,
        radius: int | None = None,
        false_name_rate: float = FALSE_NAME_RATE,
        labels: Collection[str] | None = None,
        second_look: bool = True,
        keep_pictures: bool = False,
        read_only: bool = False,
    ) -> None:
        """Open the gallery file, and create it if it does not exist and `read_only` is false.

        `gallery`: the file; None: the one that the command uses.
        `model`: an ONNX file or the folder of a bundle; None: see `find_model`.
        `engine`: an open engine to use in place of `model` and `threads`; it stays open.
        `threads`: CPU threads for the network.
        `neighbors`: how many of the nearest pictures vote.
        `radius`: bits up to which a match counts; None: as calibrated.
        `false_name_rate`: share of unknown things that may be given a name, 0 to 1.
        `labels`: recognize only these; None: all.
        `second_look`: hash the middle of a picture as well if it stays unknown.
        `keep_pictures`: store what is enrolled as a JPEG, for a move to another model.

        Raises `ModelError`, `TrustError`, `GalleryError`, `StorageError` or `InputError`.
        """
        _check_positive("neighbors", neighbors)
        self._own_engine, self._keep = engine is None, keep_pictures
        self.engine = engine or open_engine(model, threads=threads)
        self._daemons: WeakSet[Daemon] = WeakSet()
        try:
            path = Path(gallery) if gallery is not None else default_path()
            self.gallery = Gallery(
                path, self.engine.model, create=not read_only, read_only=read_only
            )
            try:
                self._pipeline = Pipeline(
                    self.engine,
                    self.gallery,
                    neighbors=neighbors,
                    radius=radius,
                    false_name_rate=false_name_rate,
                    labels=labels,
                    second_look=second_look,
                )
            except BaseException:
                self.gallery.close()
                raise
        except BaseException:
            self._close_engine()
            raise

    # -- enrollment ---------------------------------------------------------------------------

    def enroll(
        self,
        label: str,
        *photos: Photo,
        views: bool = True,
        thumbnail: bool = True,
        position: Position | Literal["photo"] | None = None,
    ) -> EnrollResult:
        """Enroll `photos` under `label`; a folder means all photos and clips in it.

        Photos already enrolled under the label get only what they lack. `views`: also enroll crops
        of each, so that it matches from closer up or off-center. `thumbnail`: store a small copy of
        the first. `position`: where they were taken; "photo": read it from each file's Exif data.
        A clip (a video file) is enrolled as by `enroll_clip`.

        Raises `PhotoError` for the first photo that cannot be used, after enrolling the others.
        Raises `InputError` if no photos are given, `NoPhotosError` for a folder without photos, and
        `LabelError`, `GalleryError` or `StorageError`.
        """
        label = check_label(label)
        if not photos:
            raise InputError(
                "no photos given", where=label, remedy="pass at least one photo or folder"
            )
        files = LabeledFiles()
        files.add(label, photos)
        result = self._enroll(
            files, EnrollOptions(views, thumbnail, position, keep_pictures=self._keep)
        )
        if result.faults:
            raise result.faults[0]
        return result

    def enroll_folder(
        self,
        folder: StrPath,
        *,
        views: bool = True,
        thumbnails: bool = True,
        position: Position | Literal["photo"] | None = None,
    ) -> EnrollResult:
        """Enroll a folder that has one sub-folder of photos and clips per label.

        Files and folders that cannot be used are listed in the result's `faults`; the others are
        enrolled. Otherwise as `enroll`.
        """
        options = EnrollOptions(views, thumbnails, position, keep_pictures=self._keep)
        return self._enroll(labeled_files(folder), options)

    def enroll_clip(
        self,
        label: str,
        clip: StrPath,
        frames: int = 8,
        *,
        views: bool = True,
        sound: bool = True,
    ) -> EnrollResult:
        """Enroll up to `frames` frames of a video file that are sharp and differ from each other.

        `views`: as for `enroll`. `sound`: also store its sound, if it has any and can be decoded.
        Raises `PhotoError` if the clip has no usable frame.
        """
        from edge_runtime.clips.enroll import enroll_clip
        from edge_runtime.clips.sound import enroll_sound

        _check_positive("frames", frames)
        options = EnrollOptions(views, keep_pictures=self._keep)
        result = enroll_clip(self.engine, self.gallery, label, Path(clip), options, most=frames)
        if sound:
            added, note = enroll_sound(self.gallery, label, Path(clip))
            result.sounds_added += added
            result.notes += [note] if note else []
        return result

    def enroll_camera(
        self,
        label: str,
        camera: Camera = 0,
        count: int = 5,
        *,
        views: bool = True,
        options: CameraOptions | None = None,
    ) -> EnrollResult:
        """Enroll the next `count` frames of a camera, or fewer if it ends.

        `views`: as for `enroll`. `options`: requested of the camera; a `Source` ignores them.

        Raises `CameraError` if the camera fails; then nothing is enrolled.
        """
        _check_positive("count", count)
        label = check_label(label)
        enroll = EnrollOptions(views, keep_pictures=self._keep)
        with Capture(_source(camera, options)) as capture:
            return enroll_frames(self.engine, self.gallery, label, capture, count, enroll)

    def labels(self) -> dict[str, Counts]:
        """Return the number of pictures and codes of each label."""
        return self.gallery.label_counts()

    def remove(self, label: str) -> Counts:
        """Remove `label`, and return how many pictures and codes it had.

        Raises `NotEnrolledError`.
        """
        return self.gallery.remove(label=check_label(label))

    def rename(self, old: str, new: str) -> Counts:
        """Rename label `old` to `new`, and return the number of pictures and codes changed.

        A picture that is enrolled under both labels is kept once, and not counted.

        Raises `NotEnrolledError`.
        """
        return self.gallery.relabel(check_label(old), check_label(new)).counts

    # -- recognition --------------------------------------------------------------------------

    def query(self, photo: Photo, near: QueryPosition | None = None) -> QueryResult:
        """Recognize one photo; the result's `label` is None when it is unknown.

        `near`: where the photo was taken, and how that counts. Raises `PhotoError`.
        """
        result = self._pipeline.query(load_photo(photo), near)
        sources = self.gallery.sources([match.id for match in result.matches])
        matches = (replace(match, source=sources.get(match.id, "")) for match in result.matches)
        return replace(result, matches=tuple(matches))

    def query_together(
        self,
        photos: Iterable[Photo],
        method: FusionMethod = "vote",
        near: QueryPosition | None = None,
    ) -> FusedResult:
        """Give one answer for several photos of the same thing; raises `PhotoError`.

        `method`: rank labels by the votes of all photos ("vote") or by the nearest match ("best").
        """
        return self._pipeline.query_together([load_photo(photo) for photo in photos], method, near)

    def query_clip(
        self,
        clip: StrPath,
        near: QueryPosition | None = None,
        *,
        most_frames: int = 30,
        every_s: float = 0.5,
        sure: float = 0.95,
        sound: bool = True,
    ) -> ClipResult:
        """Recognize a video file: frames are hashed one by one until the answer is sure.

        `near`: where it was filmed. `most_frames`: frames that are hashed at most. `every_s`:
        seconds of the clip from one of them to the next; 0: every frame. `sure`: the confidence
        from which no further frame is read. `sound`: also use its sound, if the gallery has any.
        Raises `PhotoError` or `InputError`.
        """
        from edge_runtime.clips.frames import ClipOptions
        from edge_runtime.clips.query import query_clip

        options = ClipOptions(most_frames, every_s)
        return query_clip(self._pipeline, Path(clip), options, near, sure, sound=sound)

    def watch(
        self,
        camera: Camera = 0,
        *,
        options: CameraOptions | None = None,
        window: int = WINDOW,
        cooldown_s: float = 0.0,
        gate: bool = True,
        reconnect: bool = False,
    ) -> Watch:
        """Iterate over what comes into view of a camera: one `Recognition` each time.

        `camera`: a number, a device, a video file, a folder of photos, an address, or a `Source`.
        `options`: requested of the camera; of a live one, at most `fps` frames per second are used.
        `window`: a label is recognized when most of this many frames show it.
        `cooldown_s`: seconds before the same label is announced again.
        `gate`: do not hash a frame that shows the same scene as the one before.
        `reconnect`: open a live camera again when it fails while it runs, instead of raising.

        Raises `CameraError`, here or during the iteration.
        """
        _check_positive("window", window)
        options = options or CameraOptions()
        supervisor = CameraSupervisor(_source(camera, options), wait=False, reconnect=reconnect)
        supervisor.limit_rate(options.fps)
        pipeline = self._pipeline.with_gate(
            ChangeGate(GateOptions(settle_frames=window)) if gate else None
        )
        daemon = Daemon(supervisor, pipeline, decider=Decider(window, cooldown_s=cooldown_s))
        self._daemons.add(daemon)
        return Watch(daemon)

    def close(self) -> None:
        """Close every watched camera, the gallery, and the engine if this object opened it."""
        for daemon in tuple(self._daemons):
            daemon.stop("closed")
            daemon.camera.close()
        self.gallery.close()
        self._close_engine()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- internals ----------------------------------------------------------------------------

    def _enroll(self, files: LabeledFiles, options: EnrollOptions) -> EnrollResult:
        from edge_runtime.clips.enroll import enroll_files

        return enroll_files(self.engine, self.gallery, files, options)

    def _close_engine(self) -> None:
        if self._own_engine:
            self.engine.close()
            self._own_engine = False


def _source(camera: Camera, options: CameraOptions | None = None) -> Source:
    if isinstance(camera, Source):
        return camera
    return parse_source(str(camera) if isinstance(camera, int) else os.fspath(camera), options)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value}")
