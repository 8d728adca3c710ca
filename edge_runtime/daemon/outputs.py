"""Open the sinks that the configuration names, each behind its own outbox."""

from __future__ import annotations

import errno
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO, TypedDict

import msgspec

from edge_runtime.errors import ConfigError
from edge_runtime.settings import Settings, read_secret
from edge_runtime.sinks import JsonSink, Outbox, Sink, TextSink
from edge_runtime.sinks.topics import Place
from edge_runtime.system.device import read_device
from edge_runtime.system.files import open_regular
from edge_runtime.types import CameraState, Event

MOST_WORDS_WAITING = 4
"""Texts that wait to be spoken."""
MOST_BYTES = 1 << 22
"""Bytes of a file with certificates."""

SinkKey = tuple[object, ...]
"""Identifies a sink's configuration: the name of its table, its settings, and the contents of the
files that they name. Equal keys mean that an outbox can stay open across a reload."""
Outboxes = dict[SinkKey, Outbox]


@dataclass(frozen=True)
class Host:
    """What sinks know of the daemon around them."""

    board: str = ""
    """The name of the board."""
    picture: Callable[[Event], bytes | None] = lambda _event: None
    """Returns the JPEG of an "enter" event, if it is still the last of its region; any thread."""
    command: Callable[[str], None] = lambda _name: None
    """Executes a command of a subscriber; may be called on any thread, raises nothing."""


def open_sinks(
    settings: Settings,
    host: Host,
    *,
    lossless: bool,
    cameras: Sequence[CameraState] = (),
    before: Outboxes | None = None,
) -> Outboxes:
    """Return an outbox for each configured sink.

    `cameras`: their states now. With `lossless`, standard output receives every
    event and may slow the pipeline down.

    An outbox of `before` whose configuration is unchanged stays open, with its waiting events. If
    the configuration has changed, the new outbox closes the old one and starts after it has ended.
    The caller closes those that have no successor.

    Raises `EdgeRuntimeError`. Then no new outbox is open, and those of `before` are unchanged.
    """
    before = before or {}
    wanted = list(_wanted(settings, lossless, host))
    by_table = {key[0]: outbox for key, outbox in before.items()}
    sinks = {key: create() for key, _, create in wanted if key not in before}
    return {
        key: before.get(key)
        or Outbox(sinks[key], after=by_table.get(key[0]), cameras=cameras, **options)
        for key, options, _ in wanted
    }


def reader_has_gone(stream: TextIO) -> bool:
    """Return whether `stream` is a pipe whose reading end is closed."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # not a file, or closed
        return False
    return any(events & select.POLLERR for _, events in poll.poll(0))


class _OutboxOptions(TypedDict, total=False):
    capacity: int
    attempts: int
    lossless: bool


def _wanted(
    settings: Settings, lossless: bool, host: Host
) -> Iterator[tuple[SinkKey, _OutboxOptions, Callable[[], Sink]]]:
    """Yield the key, the outbox options and a factory for each sink; connects nothing."""
    if settings.output.format != "none":
        kind = JsonSink if settings.output.format == "json" else TextSink
        options = _OutboxOptions(lossless=lossless, attempts=1)
        yield ("output", settings.output, lossless), options, lambda: kind(sys.stdout)
    if mqtt := settings.mqtt:
        password = read_secret(mqtt.password_file) if mqtt.password_file else ""
        certificates = _content(mqtt.ca_file)
        places = _places(settings)

        def to_broker() -> Sink:
            from edge_runtime.sinks.mqtt import MqttOptions, MqttSink

            return MqttSink(
                MqttOptions(
                    mqtt.host,
                    mqtt.port,
                    mqtt.topic or f"edge-runtime/{host.board}",
                    mqtt.client_id,
                    mqtt.username,
                    password,
                    mqtt.tls,
                    mqtt.ca_file,
                    host.board,
                    places,
                    mqtt.discovery,
                    mqtt.discovery_prefix,
                    mqtt.images,
                    mqtt.commands,
                    read_device().model or "",
                ),
                picture=host.picture,
                command=host.command,
            )

        options = _OutboxOptions(capacity=mqtt.queue)
        yield ("mqtt", mqtt, password, certificates, places), options, to_broker
    if hook := settings.webhook:
        token = read_secret(hook.token_file) if hook.token_file else ""

        def to_server() -> Sink:
            from edge_runtime.sinks.message import MessageFormat
            from edge_runtime.sinks.webhook import WebhookSink

            return WebhookSink(
                hook.url,
                timeout_s=hook.timeout_s,
                token=token,
                format=MessageFormat(hook.format, hook.template, hook.chat_id),
                kinds=hook.kinds,
            )

        options = _OutboxOptions(capacity=hook.queue, attempts=hook.attempts)
        yield ("webhook", hook, token), options, to_server
    if run := settings.exec:

        def to_program() -> Sink:
            from edge_runtime.sinks.command import CommandSink

            return CommandSink(run.command, timeout_s=run.timeout_s)

        key = ("exec", tuple(run.command), run.timeout_s, run.queue)
        yield key, _OutboxOptions(capacity=run.queue), to_program
    if speech := settings.speech:

        def to_speaker() -> Sink:
            from edge_runtime.sinks.speech import SpeechOptions, SpeechSink

            return SpeechSink(SpeechOptions(**msgspec.structs.asdict(speech)))

        # What waits longer is no longer news when it is spoken.
        options = _OutboxOptions(capacity=MOST_WORDS_WAITING)
        yield ("speech", msgspec.json.encode(speech)), options, to_speaker


def _places(settings: Settings) -> tuple[Place, ...]:
    """Return what has a state of its own: the regions of each camera, or the camera itself."""
    return tuple(
        Place(camera, region)
        for camera in settings.all_cameras()
        for region in settings.regions_of(camera) or (None,)
    )


def _content(path: str) -> bytes | None:
    """Return the file's content; None if it cannot be read, which its user reports.

    Raises `ConfigError` if it is not a regular file: its user would wait for a FIFO.
    """
    try:
        if not path:
            return None
        with open_regular(path) as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        if error.errno != errno.ENXIO:
            return None
        raise ConfigError(str(error.strerror), where=path, remedy="name a PEM file") from error
