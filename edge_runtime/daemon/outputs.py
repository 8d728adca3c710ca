"""The sinks that a configuration asks for, each behind an outbox of its own."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, TypedDict

from edge_runtime.settings import Settings, read_secret
from edge_runtime.sinks import JsonSink, Outbox, Sink, TextSink

Made = dict[tuple[object, ...], Outbox]
"""Outboxes by all that each was made from: its table, then the table's settings and what the files
say that these name."""


def open_sinks(settings: Settings, *, lossless: bool, before: Made | None = None) -> Made:
    """An outbox for each sink; `lossless`: standard output gets every event, and may slow us.

    One of `before` that is still asked for as it is stays, with all that waits in it; one whose
    settings have changed is closed by the one that follows it, which begins when it has ended.
    Those that nothing follows are left to the caller. Raises `EdgeRuntimeError`, and then none is
    left open but those of `before`, as they were.
    """
    before = before or {}
    wanted = list(_wanted(settings, lossless))
    named = {made_from[0]: outbox for made_from, outbox in before.items()}
    sinks = {made_from: make() for made_from, _, make in wanted if made_from not in before}
    return {
        made_from: before.get(made_from)
        or Outbox(sinks[made_from], after=named.get(made_from[0]), **how)
        for made_from, how, _ in wanted
    }


def reader_has_gone(stream: TextIO) -> bool:
    """Whether `stream` is a pipe that nobody reads any more."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # it is no file, or closed
        return False
    return any(found & select.POLLERR for _, found in poll.poll(0))


class _How(TypedDict, total=False):
    capacity: int
    attempts: int
    lossless: bool


def _wanted(
    settings: Settings, lossless: bool
) -> Iterator[tuple[tuple[object, ...], _How, Callable[[], Sink]]]:
    """What each outbox is made from, how, and what makes its sink; nothing is connected yet."""
    if settings.output.format != "none":
        kind = JsonSink if settings.output.format == "json" else TextSink
        how = _How(lossless=lossless, attempts=1)
        yield ("output", settings.output, lossless), how, lambda: kind(sys.stdout)
    if mqtt := settings.mqtt:
        password = read_secret(mqtt.password_file) if mqtt.password_file else ""
        trusted = _content(mqtt.ca_file)

        def to_broker() -> Sink:
            from edge_runtime.sinks.mqtt import MqttOptions, MqttSink

            return MqttSink(
                MqttOptions(
                    mqtt.host,
                    mqtt.port,
                    mqtt.topic,
                    mqtt.client_id,
                    mqtt.username,
                    password,
                    mqtt.tls,
                    mqtt.ca_file,
                )
            )

        yield ("mqtt", mqtt, password, trusted), _How(capacity=mqtt.queue), to_broker
    if hook := settings.webhook:
        token = read_secret(hook.token_file) if hook.token_file else ""

        def to_server() -> Sink:
            from edge_runtime.sinks.webhook import WebhookSink

            return WebhookSink(hook.url, timeout_s=hook.timeout_s, token=token)

        how = _How(capacity=hook.queue, attempts=hook.attempts)
        yield ("webhook", hook, token), how, to_server
    if run := settings.exec:

        def to_program() -> Sink:
            from edge_runtime.sinks.command import CommandSink

            return CommandSink(run.command, timeout_s=run.timeout_s)

        made_from = ("exec", tuple(run.command), run.timeout_s, run.queue)
        yield made_from, _How(capacity=run.queue), to_program


def _content(path: str) -> bytes | None:
    """What is in the file; None: it cannot be read, which is told where it is used."""
    try:
        return Path(path).read_bytes() if path else None
    except OSError:
        return None
