"""The keys of the tables that describe cameras and regions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from edge_runtime.settings.table import Table

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
"""Name of a camera or a region: it is part of topics and addresses."""
Share = Annotated[float, Meta(ge=0, le=1)]


class CameraSettings(Table, frozen=True, kw_only=True):
    """The source of frames, and how long to wait for them."""

    source: Annotated[
        str,
        Meta(
            min_length=1,
            description="An index or device (0, /dev/v4l/by-id/...), rpicam[:N] or picamera2[:N] "
            "for CSI cameras, an http or rtsp URL, a video file, or a folder of photos.",
        ),
    ] = "0"
    password_file: Annotated[
        str,
        Meta(
            description="A file whose first line is the password of the user in the URL "
            "(rtsp://USER@HOST/...)."
        ),
    ] = ""
    width: Annotated[int, Meta(ge=32, le=7680, description="Requested frame width, pixels.")] = 640
    height: Annotated[int, Meta(ge=32, le=4320, description="Requested frame height, pixels.")] = (
        480
    )
    fps: Annotated[
        float, Meta(gt=0, le=240, description="Maximum frames per second of a live camera.")
    ] = 10.0
    loop: Annotated[bool, Meta(description="Restart a file or folder at its end.")] = False
    real_time: Annotated[
        bool, Meta(description="Play a file at its own speed, and a folder at `fps`.")
    ] = False
    wait: Annotated[
        bool,
        Meta(description="Keep trying if the camera is missing at the start. False: exit."),
    ] = True
    first_frame_s: Annotated[
        float,
        Meta(
            gt=0, le=600, description="Seconds without a first frame until the camera has failed."
        ),
    ] = 10.0
    next_frame_s: Annotated[
        float,
        Meta(gt=0, le=600, description="Seconds without a next frame until the camera has failed."),
    ] = 5.0
    retry_shortest_s: Annotated[
        float,
        Meta(
            gt=0,
            le=600,
            description="Pause before the first restart, seconds. It doubles each time.",
        ),
    ] = 0.5
    retry_longest_s: Annotated[
        float, Meta(gt=0, le=3600, description="Longest pause between two restarts, seconds.")
    ] = 30.0
    retry_budget: Annotated[
        int,
        Meta(
            ge=1, le=1000, description="Restarts per minute after which every pause is the longest."
        ),
    ] = 5


class RegionSettings(Table, frozen=True, kw_only=True):
    """A part of a camera's picture that is watched in place of the whole, with events of its own.

    Each region costs one hash per frame.
    """

    camera: Annotated[
        str, Meta(description="Name of the camera. May be empty if there is only one.")
    ] = ""
    area: Annotated[
        list[Share],
        Meta(
            min_length=4,
            max_length=4,
            description="Left, top, width and height, as shares of the picture, 0 to 1.",
        ),
    ] = field(default_factory=lambda: [0.0, 0.0, 1.0, 1.0])
    labels: Annotated[
        list[str],
        Meta(description="The labels that can be recognized here. Empty: all."),
    ] = field(default_factory=list)
