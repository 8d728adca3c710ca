"""The sinks that a configuration asks for, each behind an outbox of its own."""

from __future__ import annotations

import select
import sys
from typing import TextIO

from edge_runtime.settings import Settings, read_secret
from edge_runtime.sinks import JsonSink, Outbox, TextSink


def open_sinks(settings: Settings, *, lossless: bool) -> list[Outbox]:
    """An outbox for each sink; `lossless`: standard output gets every event, and may slow us.

    Raises `EdgeRuntimeError`, and then none is left open.
    """
    made: list[Outbox] = []
    try:
        _open(settings, lossless, made)
    except BaseException:
        for outbox in made:
            outbox.close(0.0)
        raise
    return made


def reader_has_gone(stream: TextIO) -> bool:
    """Whether `stream` is a pipe that nobody reads any more."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # it is no file, or closed
        return False
    return any(found & select.POLLERR for _, found in poll.poll(0))


def _open(settings: Settings, lossless: bool, made: list[Outbox]) -> None:
    if settings.output.format != "none":
        kind = JsonSink if settings.output.format == "json" else TextSink
        made.append(Outbox(kind(sys.stdout), lossless=lossless, attempts=1))
    if mqtt := settings.mqtt:
        from edge_runtime.sinks.mqtt import MqttOptions, MqttSink

        options = MqttOptions(
            mqtt.host,
            mqtt.port,
            mqtt.topic,
            mqtt.client_id,
            mqtt.username,
            read_secret(mqtt.password_file) if mqtt.password_file else "",
            mqtt.tls,
            mqtt.ca_file,
        )
        made.append(Outbox(MqttSink(options), capacity=mqtt.queue))
    if hook := settings.webhook:
        from edge_runtime.sinks.webhook import WebhookSink

        token = read_secret(hook.token_file) if hook.token_file else ""
        sink = WebhookSink(hook.url, timeout_s=hook.timeout_s, token=token)
        made.append(Outbox(sink, capacity=hook.queue, attempts=hook.attempts))
    if run := settings.exec:
        from edge_runtime.sinks.command import CommandSink

        command = CommandSink(run.command, timeout_s=run.timeout_s)
        made.append(Outbox(command, capacity=run.queue))
