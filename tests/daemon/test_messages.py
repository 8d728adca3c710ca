"""Messages for ntfy, Telegram, Discord and others, received by a real HTTP server."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.daemon.outputs import Host, open_sinks
from edge_runtime.errors import ConfigError
from edge_runtime.settings import parse_settings
from edge_runtime.settings.template import SAMPLE, template_fault
from edge_runtime.sinks.message import LONGEST, message_of
from edge_runtime.types import Event
from tests.daemon.broker import until
from tests.support.events import make_event
from tests.support.processes import ROOT

PARTS = ["{", "}", "label", ":", ".0%", "!", "[", "x"]
TOKEN = "123456:AAF-secret_token"
ENTER = replace(make_event(label='<b>"Käse"</b>\n@everyone'), board="Küche", camera="door")


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """A web server that records what it receives and answers with `status`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.received.append(Received(self.path, dict(self.headers), body))
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def _send(text: str, *events: Event) -> None:
    settings = parse_settings('output.format = "none"\n[webhook]\n' + text)
    (box,) = open_sinks(settings, Host("Küche"), lossless=False).values()
    for event in events:
        box.publish(event)
    until(lambda: not box.counts().waiting)
    box.close()


def test_ntfy(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tk_secret\n")
    _send(
        f'url = "{server.url}/my-topic"\nformat = "ntfy"\ntoken_file = "{tmp_path}/token"\n'
        'template = "{label} {what}, {confidence:.0%} sure"\nkinds = "enter"',
        ENTER,
        replace(ENTER, kind="leave"),
        replace(ENTER, kind="test", label="this", confidence=0.0),
    )
    received, test = server.received
    assert test.body.decode() == "this is a test, 0% sure"
    assert received.path == "/my-topic"
    assert received.body.decode() == '<b>"Käse"</b>\n@everyone came into view, 60% sure'
    title = received.headers["Title"]
    assert title.startswith("=?utf-8?B?")
    assert base64.b64decode(title[10:-2]).decode() == "Küche"
    assert received.headers["Authorization"] == "Bearer tk_secret"


def test_telegram_and_its_token(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(TOKEN)
    text = (
        f'url = "{server.url}"\nformat = "telegram"\nchat_id = "-1001"\n'
        f'token_file = "{tmp_path}/token"\nattempts = 1'
    )
    _send(text, ENTER)
    (received,) = server.received
    assert received.path == f"/bot{TOKEN}/sendMessage"
    assert "Authorization" not in received.headers
    assert json.loads(received.body) == {
        "chat_id": "-1001",
        "text": 'Küche/door: <b>"Käse"</b>\n@everyone came into view',
    }
    server.status = 401
    _send(text, ENTER)
    _send(text.replace(server.url, "http://127.0.0.1:9"), ENTER)
    assert "the server responded 401" in caplog.text
    assert "no response" in caplog.text
    assert "secret_token" not in caplog.text


def test_discord_notifies_nobody_by_a_label(server: Server) -> None:
    _send(
        f'url = "{server.url}/api/webhooks/1/x"\nformat = "discord"', replace(ENTER, kind="leave")
    )
    body = json.loads(server.received[0].body)
    assert body["content"] == 'Küche/door: <b>"Käse"</b>\n@everyone left'
    assert body["allowed_mentions"] == {"parse": []}


def test_plain_text_and_json(server: Server) -> None:
    _send(f'url = "{server.url}"\nformat = "text"\ntemplate = "{{{{{{label}}}}}}"', ENTER)
    assert server.received[0].body.decode() == '{<b>"Käse"</b>\n@everyone}'
    assert server.received[0].headers["Content-Type"] == "text/plain; charset=utf-8"
    _send(f'url = "{server.url}"', ENTER)
    assert json.loads(server.received[1].body) == json.loads(json.dumps(asdict(ENTER)))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('format = "text"\ntemplate = "{lable}"', r"webhook.template: there is no field \{lable\}"),
        ('format = "text"\ntemplate = "{label.x}"', "there is no field"),
        ('format = "text"\ntemplate = "{label"', "not a valid template"),
        ('format = "text"\ntemplate = "{label:%}"', "not a valid template"),
        ('format = "text"\ntemplate = "{label:>9999999}"', "is too long"),
        ('template = "{label}"', "an event as JSON has no message"),
        ('format = "telegram"', "Telegram needs the token of a bot"),
        ('format = "telegram"\ntoken_file = "t"', "Telegram needs a chat"),
        ('chat_id = "7"', "only Telegram has chats"),
        ('format = "sms"', "webhook.format"),
    ],
)
def test_what_cannot_work_is_named(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        parse_settings(f'[webhook]\nurl = "http://x/"\n{text}')
    assert "\n" not in str(caught.value)


def test_the_fields_are_those_of_an_event() -> None:
    assert set(SAMPLE) == {*asdict(make_event()), "what", "place"}


@given(
    st.text(max_size=60) | st.lists(st.sampled_from(PARTS)).map("".join),
    st.booleans(),
)
def test_a_template_that_is_accepted_works_for_every_event(text: str, sparse: bool) -> None:
    event: Any = make_event()
    if sparse:
        event = replace(event, kind="leave", distance=None, region=None, next_label=None)
    fault = template_fault(text)
    if fault is None:
        assert len(message_of(event, text)) <= LONGEST
    else:
        assert "\n" not in fault[1]


def test_the_documented_examples_are_valid() -> None:
    document = (ROOT / "docs" / "DAEMON.md").read_text()
    section = document.split("### Messages")[1].split("\n### ")[0]
    examples = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    hooks = [parse_settings(example).webhook for example in examples]
    assert [hook and hook.format for hook in hooks] == ["ntfy", "telegram", "discord"]
