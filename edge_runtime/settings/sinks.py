"""The keys of the tables that describe where events go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, field

from edge_runtime.settings.table import Table
from edge_runtime.settings.template import DEFAULT, template_fault


class OutputSettings(Table, frozen=True, kw_only=True):
    """Events on standard output."""

    format: Annotated[
        Literal["text", "json", "none"],
        Meta(description="Human-readable lines, JSON objects, or nothing."),
    ] = "text"


class MqttSettings(Table, frozen=True, kw_only=True):
    """Events to an MQTT broker. Requires `edge-runtime[mqtt]`. Without this table: off."""

    host: Annotated[str, Meta(min_length=1, description="Host name of the broker. Required.")]
    port: Annotated[int, Meta(ge=1, le=65535, description="Usually 1883, or 8883 with TLS.")] = 1883
    topic: Annotated[
        str,
        Meta(
            pattern=r"^[^#+\x00]*$",
            description="Parent of the topics event, state and camera (retained), and status (last "
            "will). Empty: edge-runtime/BOARD, with the name of the table [board].",
        ),
    ] = ""
    client_id: Annotated[
        str, Meta(description="Different on each board. Empty: the broker chooses one.")
    ] = ""
    username: Annotated[str, Meta(description="Empty: no login.")] = ""
    password_file: Annotated[str, Meta(description="A file whose first line is the password.")] = ""
    tls: Annotated[bool, Meta(description="Encrypt, and verify the broker's certificate.")] = False
    ca_file: Annotated[str, Meta(description="Trusted certificates, PEM. Empty: the system's.")] = (
        ""
    )
    queue: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Events stored while the broker is unreachable.")
    ] = 1000
    discovery: Annotated[
        bool,
        Meta(
            description="Announce the board to Home Assistant. False: take the announcement back."
        ),
    ] = False
    discovery_prefix: Annotated[
        str,
        Meta(
            pattern=r"^[^#+\x00]+$",
            description="As set in Home Assistant's MQTT integration.",
        ),
    ] = "homeassistant"
    images: Annotated[
        bool,
        Meta(
            description="Publish the picture of each label that comes into view (retained). "
            "Everyone who may read the broker's topics sees it."
        ),
    ] = False
    commands: Annotated[
        bool,
        Meta(
            description='Take the command "reload". Everyone who may publish on the broker can '
            "then make the board read its configuration again."
        ),
    ] = False


class WebhookSettings(Table, frozen=True, kw_only=True):
    """Events to a web server or messenger, one POST request per event. Without this table: off."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^/\s]",
            description="An http or https URL; for Telegram https://api.telegram.org. Required.",
        ),
    ]
    format: Annotated[
        Literal["json", "text", "ntfy", "telegram", "discord"],
        Meta(description="The event as JSON, or a message as plain text or for a service."),
    ] = "json"
    template: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="The message, with fields of the event in braces, such as {label} and "
            "{confidence:.0%}. {what} is how it changed, {place} where.",
        ),
    ] = DEFAULT
    kinds: Annotated[
        Literal["all", "enter", "leave"], Meta(description="The kinds of events that are sent.")
    ] = "all"
    chat_id: Annotated[str, Meta(max_length=100, description="The chat of Telegram.")] = ""
    token_file: Annotated[
        str,
        Meta(
            description="A file whose first line is sent as a bearer token, or is the token of the "
            "bot of Telegram."
        ),
    ] = ""
    timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="Limit for one whole attempt, seconds.")
    ] = 5.0
    attempts: Annotated[
        int, Meta(ge=1, le=1000, description="Attempts per event before it has failed.")
    ] = 8
    queue: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Events stored while the server is unreachable.")
    ] = 1000


class ExecSettings(Table, frozen=True, kw_only=True):
    """Events to a program, run once per event without a shell. Without this table: off."""

    command: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="Program and arguments. It reads the event from stdin. Required.",
        ),
    ]
    timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds until its process group is killed.")
    ] = 10.0
    queue: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Events stored while the program runs.")
    ] = 100


class SpeechSettings(Table, frozen=True, kw_only=True):
    """Spoken labels, by a program such as espeak-ng. Without this table: off."""

    program: Annotated[
        str,
        Meta(min_length=1, description="A program with the options -v and --stdin of espeak-ng."),
    ] = "espeak-ng"
    language: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9-]{0,31}$",
            description="Language, such as en, en-gb or de; see: espeak-ng --voices.",
        ),
    ] = "en"
    voice: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_-]{0,32}$",
            description="Variant of the voice, such as f3 or m1. Empty: the language's own.",
        ),
    ] = ""
    arguments: Annotated[
        list[str],
        Meta(description='Further arguments, such as ["-s", "140"] for a slower voice.'),
    ] = field(default_factory=list)
    say: Annotated[
        str,
        Meta(
            max_length=500,
            description="Text for a label that comes into view, with fields of the event in "
            "braces. Empty: silent.",
        ),
    ] = "{label}"
    say_left: Annotated[
        str,
        Meta(max_length=500, description="The same for a label that leaves. Empty: silent."),
    ] = ""
    repeat_s: Annotated[
        float,
        Meta(ge=0, le=86400, description="Seconds within which no text is spoken twice."),
    ] = 30.0
    timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="Seconds until its process group is killed.")
    ] = 15.0


def speech_contradictions(speech: SpeechSettings) -> Iterator[tuple[str, str, str]]:
    """Yield key, error and remedy for texts that are not valid."""
    for key in ("say", "say_left"):
        if fault := template_fault(getattr(speech, key)):
            yield f"speech.{key}", *fault


def webhook_contradictions(hook: WebhookSettings) -> Iterator[tuple[str, str, str]]:
    """Yield key, error and remedy for rules that involve more than a key's type and range."""
    if fault := template_fault(hook.template):
        yield "webhook.template", *fault
    if hook.format == "json" and hook.template != DEFAULT:
        yield "webhook.template", "an event as JSON has no message", 'set format = "text"'
    if hook.format == "telegram" and not hook.token_file:
        yield "webhook.format", "Telegram needs the token of a bot", "set token_file"
    if hook.format == "telegram" and not hook.chat_id:
        yield "webhook.format", "Telegram needs a chat", "set chat_id"
    if hook.format != "telegram" and hook.chat_id:
        yield "webhook.chat_id", "only Telegram has chats", 'set format = "telegram"'
