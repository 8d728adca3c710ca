"""Every key of the configuration: its type, default, bounds, and what it means.

`Annotated[..., Meta(description=...)]` is the one place where a key is described: the file is
validated against it, and docs/CONFIGURATION.md and `edge-runtime config example` are made from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; its fields are its keys."""


class ModelSettings(_Table, frozen=True, kw_only=True):
    """The hash network."""

    path: Annotated[
        str,
        Meta(
            description="An ONNX file, or the folder of a compiled bundle. Empty: "
            "$EDGE_RUNTIME_MODEL, or the shipped one."
        ),
    ] = ""
    threads: Annotated[int, Meta(ge=1, le=64, description="CPU threads for the network.")] = 1


class GallerySettings(_Table, frozen=True, kw_only=True):
    """What has been enrolled."""

    path: Annotated[
        str,
        Meta(
            description="The gallery file. Empty: $EDGE_RUNTIME_GALLERY, or gallery.sqlite in your "
            "data folder."
        ),
    ] = ""


class CameraSettings(_Table, frozen=True, kw_only=True):
    """Where frames come from, and how long to wait for them."""

    source: Annotated[
        str,
        Meta(
            min_length=1,
            description="An index or device (0, /dev/v4l/by-id/...), rpicam[:N] or picamera2[:N] "
            "for CSI cameras, an http or rtsp address, a video file, or a folder of photos.",
        ),
    ] = "0"
    width: Annotated[int, Meta(ge=32, le=7680, description="Asked of the camera, pixels.")] = 640
    height: Annotated[int, Meta(ge=32, le=4320, description="Asked of the camera, pixels.")] = 480
    fps: Annotated[
        float, Meta(gt=0, le=240, description="Frames a second, at most, of a live camera.")
    ] = 10.0
    loop: Annotated[bool, Meta(description="A file or folder begins anew at its end.")] = False
    real_time: Annotated[
        bool, Meta(description="A file plays at its own speed, a folder at `fps`.")
    ] = False
    wait: Annotated[
        bool,
        Meta(description="Keep trying a camera that is not there at the start; false: end."),
    ] = True
    first_frame_s: Annotated[
        float, Meta(gt=0, le=600, description="Seconds to the first frame before it has failed.")
    ] = 10.0
    next_frame_s: Annotated[
        float, Meta(gt=0, le=600, description="Seconds to the next frame before it has failed.")
    ] = 5.0
    retry_shortest_s: Annotated[
        float,
        Meta(gt=0, le=600, description="Pause before the first restart; each further one doubles."),
    ] = 0.5
    retry_longest_s: Annotated[
        float, Meta(gt=0, le=3600, description="The longest pause between two restarts.")
    ] = 30.0
    retry_budget: Annotated[
        int,
        Meta(ge=1, le=1000, description="Restarts a minute after which each pause is the longest."),
    ] = 5


class GateSettings(_Table, frozen=True, kw_only=True):
    """The scene-change gate: an unchanged scene is not hashed again."""

    enabled: Annotated[bool, Meta(description="False: every frame is hashed.")] = True
    threshold: Annotated[
        int,
        Meta(
            ge=0,
            le=255,
            description="Grey levels that one of 56 x 56 cells of the picture may differ in any "
            "channel without it being a change. A noisy camera in the dark may need more.",
        ),
    ] = 16
    refresh_s: Annotated[
        float, Meta(gt=0, le=3600, description="Hash at least so often, changed or not.")
    ] = 5.0


class DecisionSettings(_Table, frozen=True, kw_only=True):
    """From neighbours to a name."""

    window: Annotated[
        int, Meta(ge=1, le=1000, description="Frames of which a majority decides.")
    ] = 5
    neighbours: Annotated[int, Meta(ge=1, le=100, description="Nearest items that vote.")] = 5
    radius: Annotated[
        int,
        Meta(
            ge=-1,
            le=4096,
            description='Bits up to which a match counts; beyond, the answer is "unknown". '
            "-1: as measured for the model.",
        ),
    ] = -1
    cooldown_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86400,
            description="A label that comes back sooner after it was announced is announced only "
            "when this time is over.",
        ),
    ] = 0.0


class HeatSettings(_Table, frozen=True, kw_only=True):
    """A slower pace for a board that is hot or throttled."""

    hot_c: Annotated[
        float,
        Meta(gt=0, le=200, description="Degrees Celsius from which the board counts as hot."),
    ] = 78.0
    fps: Annotated[
        float,
        Meta(gt=0, le=240, description="Frames a second, at most, until 5 degrees below that."),
    ] = 2.0


class OutputSettings(_Table, frozen=True, kw_only=True):
    """Events on standard output."""

    format: Annotated[
        Literal["text", "json", "none"],
        Meta(description="Lines for people, JSON objects for programs, or nothing."),
    ] = "text"


class MqttSettings(_Table, frozen=True, kw_only=True):
    """Events to an MQTT broker (needs `edge-runtime[mqtt]`); left out: none."""

    host: Annotated[str, Meta(min_length=1, description="The broker.")]
    port: Annotated[int, Meta(ge=1, le=65535, description="1883, or 8883 with TLS.")] = 1883
    topic: Annotated[
        str,
        Meta(
            pattern=r"^[^#+\x00]+$",
            description="Below it: event (each), state (retained), status (last will).",
        ),
    ] = "edge-runtime"
    client_id: Annotated[str, Meta(description="Empty: the broker chooses one.")] = ""
    username: Annotated[str, Meta(description="Empty: none.")] = ""
    password_file: Annotated[str, Meta(description="A file whose first line is the password.")] = ""
    tls: Annotated[bool, Meta(description="Encrypt, and check the broker's certificate.")] = False
    ca_file: Annotated[str, Meta(description="Certificates to trust. Empty: the system's.")] = ""
    queue: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Events kept while the broker is away.")
    ] = 1000


class WebhookSettings(_Table, frozen=True, kw_only=True):
    """Events to a web server, one POST of JSON each; left out: none."""

    url: Annotated[str, Meta(pattern=r"^https?://[^/\s]", description="http or https address.")]
    token_file: Annotated[
        str, Meta(description="A file whose first line is sent as a bearer token.")
    ] = ""
    timeout_s: Annotated[float, Meta(gt=0, le=300, description="For one attempt.")] = 5.0
    attempts: Annotated[
        int, Meta(ge=1, le=1000, description="At one event, before it counts as failed.")
    ] = 8
    queue: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Events kept while the server is away.")
    ] = 1000


class ExecSettings(_Table, frozen=True, kw_only=True):
    """Events to a program, run once for each without a shell; left out: none."""

    command: Annotated[
        list[str],
        Meta(min_length=1, description="The program and its arguments; the event is on its stdin."),
    ]
    timeout_s: Annotated[float, Meta(gt=0, le=3600, description="Then it is killed.")] = 10.0
    queue: Annotated[int, Meta(ge=1, le=1_000_000, description="Events kept while it runs.")] = 100


class HttpSettings(_Table, frozen=True, kw_only=True):
    """The page, API and metrics (needs `edge-runtime[http]`); left out: none."""

    host: Annotated[
        str,
        Meta(min_length=1, description="Address to listen on; any but this machine needs a token."),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="0: any that is free.")] = 8080
    token_file: Annotated[
        str, Meta(description="A file whose first line is the token that clients must show.")
    ] = ""
    names: Annotated[
        list[str],
        Meta(description="Further names by which clients may call it, such as board.local."),
    ] = []
    live_view: Annotated[bool, Meta(description="Show the camera's picture on the page.")] = True
    max_upload_mb: Annotated[
        float, Meta(gt=0, le=100, description="Largest photo that is taken, megabytes.")
    ] = 15.0
    max_megapixels: Annotated[
        float,
        Meta(
            gt=0,
            le=67,
            description="Largest photo that is decoded, but for JPEGs, which "
            "are decoded at a fraction of their size.",
        ),
    ] = 16.0
    requests_per_minute: Annotated[
        int, Meta(ge=1, le=100_000, description="Of one client, that are work: queries, changes.")
    ] = 120


class LogSettings(_Table, frozen=True, kw_only=True):
    """What is said on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="And all above it.")
    ] = "info"


class Settings(_Table, frozen=True, kw_only=True):
    """The whole file."""

    model: ModelSettings = ModelSettings()
    gallery: GallerySettings = GallerySettings()
    camera: CameraSettings = CameraSettings()
    gate: GateSettings = GateSettings()
    decision: DecisionSettings = DecisionSettings()
    heat: HeatSettings = HeatSettings()
    output: OutputSettings = OutputSettings()
    mqtt: MqttSettings | None = None
    webhook: WebhookSettings | None = None
    exec: ExecSettings | None = None
    http: HttpSettings | None = None
    log: LogSettings = LogSettings()


RELOADABLE = frozenset(
    ("camera", "gate", "decision", "heat", "output", "mqtt", "webhook", "exec", "log")
)
"""Tables that SIGHUP brings into force. The others need a restart."""
