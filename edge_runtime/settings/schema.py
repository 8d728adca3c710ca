"""Every key of the configuration: type, default, range and meaning.

Each key is described once, in `Annotated[..., Meta(description=...)]`. Files are validated against
this, and docs/CONFIGURATION.md and `edge-runtime config example` are generated from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from edge_runtime.settings.camera import CameraSettings, Name, RegionSettings
from edge_runtime.settings.history import HistorySettings
from edge_runtime.settings.server import ServerSettings
from edge_runtime.settings.sinks import (
    ExecSettings,
    MqttSettings,
    OutputSettings,
    SpeechSettings,
    WebhookSettings,
)
from edge_runtime.settings.table import Table
from edge_runtime.settings.unknowns import UnknownsSettings

Port = Annotated[int, Meta(ge=0, le=65535)]


class ModelSettings(Table, frozen=True, kw_only=True):
    """The hash network."""

    path: Annotated[
        str,
        Meta(
            description="An ONNX file, or the folder of a compiled bundle. Empty: "
            "$EDGE_RUNTIME_MODEL, or the included model."
        ),
    ] = ""
    threads: Annotated[int, Meta(ge=1, le=64, description="CPU threads for the network.")] = 1


class GallerySettings(Table, frozen=True, kw_only=True):
    """The enrolled pictures."""

    path: Annotated[
        str,
        Meta(
            description="The gallery file. Empty: $EDGE_RUNTIME_GALLERY, or gallery.sqlite in your "
            "data folder."
        ),
    ] = ""
    keep_pictures: Annotated[
        bool,
        Meta(
            description="Keep each picture that the page or the API enrolls, about 29 kB, so that "
            "the gallery can be moved to another model."
        ),
    ] = False
    refit: Annotated[
        bool,
        Meta(
            description="Fit the gallery to what the page and the API have enrolled, when enough "
            "has changed."
        ),
    ] = True


class BoardSettings(Table, frozen=True, kw_only=True):
    """The board in events, topics and metrics."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[^#+/\x00]{0,64}$",
            description="Empty: the host name.",
        ),
    ] = ""


class GateSettings(Table, frozen=True, kw_only=True):
    """The change gate: an unchanged scene is not hashed again."""

    enabled: Annotated[bool, Meta(description="False: hash every frame.")] = True
    threshold: Annotated[
        int,
        Meta(
            ge=0,
            le=255,
            description="Largest difference that is not a change, in gray levels, in any channel "
            "of any of the 56 x 56 cells of the image. A noisy camera in the dark may need more.",
        ),
    ] = 16
    refresh_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Hash at least once in this time, seconds, even without a change.",
        ),
    ] = 5.0


class DecisionSettings(Table, frozen=True, kw_only=True):
    """How matches become a recognition."""

    window: Annotated[
        int, Meta(ge=1, le=1000, description="Frames over which a majority decides.")
    ] = 5
    neighbors: Annotated[
        int, Meta(ge=1, le=100, description="Number of nearest pictures that vote.")
    ] = 5
    radius: Annotated[
        int,
        Meta(
            ge=-1,
            le=4096,
            description='Largest distance of a match, bits; beyond it the answer is "unknown". '
            "-1: as calibrated on the gallery, or the model's own radius if the gallery has no "
            "features.",
        ),
    ] = -1
    false_name_rate: Annotated[
        float,
        Meta(
            gt=0,
            le=0.5,
            description="Share of unknown things that may be given a name. Less means more "
            '"unknown".',
        ),
    ] = 0.02
    second_look: Annotated[
        bool,
        Meta(
            description="Whether the middle of a picture that stays unknown is hashed as well. "
            "For a camera, this happens at the next frame, if nothing has changed.",
        ),
    ] = True
    cooldown_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86400,
            description="Seconds between two announcements of the same label. A label that returns "
            "earlier is announced when this time has passed.",
        ),
    ] = 0.0


class HeatSettings(Table, frozen=True, kw_only=True):
    """A lower frame rate for a board that is hot or throttled."""

    hot_c: Annotated[
        float,
        Meta(gt=0, le=200, description="Temperature from which the board is hot, degrees Celsius."),
    ] = 78.0
    fps: Annotated[
        float,
        Meta(gt=0, le=240, description="Maximum frames per second until it is 5 degrees cooler."),
    ] = 2.0


class HttpSettings(Table, frozen=True, kw_only=True):
    """The web page, API and metrics. Requires `edge-runtime[http]`. Without this table: off."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on. Any but a loopback address requires a token.",
        ),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="0: any free port.")] = 8080
    token_file: Annotated[
        str,
        Meta(
            description="A file whose first line is the token that clients must send: at least 16 "
            "characters, and no other user may read the file. SIGHUP reads it again."
        ),
    ] = ""
    reader_token_file: Annotated[
        str,
        Meta(
            description="The same for a second token, which permits only to look: metrics, status, "
            "events and live view. SIGHUP reads it again."
        ),
    ] = ""
    certificate_file: Annotated[
        str,
        Meta(
            description="Your certificate, PEM, with those that it depends on. The page is then "
            "served by https. SIGHUP reads it again."
        ),
    ] = ""
    key_file: Annotated[
        str,
        Meta(
            description="The private key of the certificate, PEM, without a password. No other "
            "user may read it. SIGHUP reads it again."
        ),
    ] = ""
    names: Annotated[
        list[str],
        Meta(description="Further host names that clients may use, such as board.local."),
    ] = field(default_factory=list)
    live_view: Annotated[bool, Meta(description="Show the camera image on the page.")] = True
    max_upload_mb: Annotated[
        float, Meta(gt=0, le=100, description="Largest accepted photo, megabytes.")
    ] = 15.0
    max_megapixels: Annotated[
        float,
        Meta(
            gt=0,
            le=67,
            description="Largest photo that is decoded, megapixels. A JPEG counts at the fraction "
            "of its size at which it is decoded; a progressive one counts in full.",
        ),
    ] = 16.0
    max_clip_mb: Annotated[
        float,
        Meta(
            gt=0,
            le=2000,
            description="Largest clip that the API recognizes, megabytes. The clip lies beside the "
            "gallery until it is answered.",
        ),
    ] = 50.0
    max_restore_mb: Annotated[
        float,
        Meta(
            gt=0,
            le=4000,
            description="Largest backup of a gallery that the page or the API restores, megabytes.",
        ),
    ] = 200.0
    requests_per_minute: Annotated[
        int, Meta(ge=1, le=100_000, description="Limit per client for queries and changes.")
    ] = 120


class LogSettings(Table, frozen=True, kw_only=True):
    """Messages on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Lowest level that is printed."),
    ] = "info"


class Settings(Table, frozen=True, kw_only=True):
    """The complete file."""

    model: ModelSettings = ModelSettings()
    gallery: GallerySettings = GallerySettings()
    board: BoardSettings = BoardSettings()
    camera: CameraSettings = CameraSettings()
    cameras: dict[Name, CameraSettings] = field(default_factory=dict)
    regions: dict[Name, RegionSettings] = field(default_factory=dict)
    gate: GateSettings = GateSettings()
    decision: DecisionSettings = DecisionSettings()
    heat: HeatSettings = HeatSettings()
    output: OutputSettings = OutputSettings()
    mqtt: MqttSettings | None = None
    webhook: WebhookSettings | None = None
    exec: ExecSettings | None = None
    speech: SpeechSettings | None = None
    history: HistorySettings | None = None
    http: HttpSettings | None = None
    unknowns: UnknownsSettings | None = None
    server: ServerSettings | None = None
    log: LogSettings = LogSettings()

    def all_cameras(self) -> dict[str, CameraSettings]:
        """Return the cameras by name: those of [cameras], or else the one of [camera]."""
        return self.cameras or {ONLY_CAMERA: self.camera}

    def regions_of(self, camera: str) -> dict[str, RegionSettings]:
        """Return the regions of a camera by name; without any, the whole frame is watched."""
        return {
            name: region for name, region in self.regions.items() if region.camera in ("", camera)
        }


ONLY_CAMERA = "camera"
"""The name of the camera of the table [camera]."""
BY_PARTS = frozenset(("history", "unknowns"))
"""Tables that their parts apply without a restart, also when they are turned on or off."""
RELOADABLE = frozenset(
    (
        "camera",
        "cameras",
        "regions",
        "gate",
        "decision",
        "heat",
        "output",
        "mqtt",
        "webhook",
        "exec",
        "speech",
        "log",
    )
)
"""Tables whose changes SIGHUP applies in any case. The others but `BY_PARTS` need a restart."""
