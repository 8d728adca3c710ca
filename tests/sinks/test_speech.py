"""Spoken labels: what is said, how often, and by the real espeak-ng."""

from __future__ import annotations

import json
import shutil
import sys
import time
import wave
from pathlib import Path

import pytest

from edge_runtime.daemon.outputs import Host, open_sinks
from edge_runtime.errors import ConfigError, SinkError
from edge_runtime.settings import parse_settings
from edge_runtime.sinks.speech import SpeechOptions, SpeechSink
from tests.support.events import make_event
from tests.support.web import HTML

ESPEAK = shutil.which("espeak-ng")


class Speaker:
    """A sink whose program writes down its arguments and what it is to say."""

    def __init__(self, folder: Path, **options: object) -> None:
        self._file, self.now_s = folder / "said", 0.0
        program = folder / "program"
        program.write_text(
            f"#!{sys.executable} -S\nimport json, sys\n"
            f"with open({str(self._file)!r}, 'a') as file:\n"
            "    file.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + '\\n')\n"
        )
        program.chmod(0o755)
        settings = SpeechOptions(program=str(program), **options)  # type: ignore[arg-type]
        self.sink = SpeechSink(settings, clock=lambda: self.now_s)

    @property
    def said(self) -> list[tuple[list[str], str]]:
        return [tuple(json.loads(line)) for line in self._file.read_text().splitlines()]

    @property
    def texts(self) -> list[str]:
        return [text.strip() for _, text in self.said] if self._file.exists() else []


def test_a_label_is_never_an_argument(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path, language="de", voice="f3", arguments=["-s", "140"])
    for label in ("--help", "-w /tmp/x", HTML, "$(reboot)"):
        speaker.sink.publish(make_event(label=label))
    command = ["-v", "de+f3", "--stdin", "-s", "140"]
    assert [arguments for arguments, _ in speaker.said] == [command] * 4
    assert speaker.texts == ["--help", "-w /tmp/x", HTML, "$(reboot)"]


def test_nothing_is_spoken_twice_within_the_time(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path, repeat_s=30.0)
    for now_s, label in (
        (0, "cat"),
        (10, "cat"),
        (20, "dog"),
        (29, "cat"),
        (31, "cat"),
        (40, "cat"),
    ):
        speaker.now_s = now_s
        speaker.sink.publish(make_event(label=label))
    assert speaker.texts == ["cat", "dog", "cat"]
    speaker.sink.publish(make_event(kind="leave", label="cow"))  # silent by default
    assert speaker.texts == ["cat", "dog", "cat"]


def test_the_texts_are_templates(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path, say="{label},\n{confidence:.0%}", say_left="{label} is gone")
    speaker.sink.publish(make_event(label="cat"))
    speaker.sink.publish(make_event(kind="leave", label="cat"))
    assert speaker.texts == ["cat, 60%", "cat is gone"]


def test_what_failed_is_not_counted_as_spoken(tmp_path: Path) -> None:
    options = SpeechOptions(program="false", repeat_s=1000)
    sink = SpeechSink(options)
    for _ in range(2):
        with pytest.raises(SinkError, match="speech false: exited with code 1"):
            sink.publish(make_event())
    with pytest.raises(SinkError, match="cannot run the program: No such file"):
        SpeechSink(SpeechOptions(program="/nowhere/espeak-ng")).publish(make_event())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('say = "{lable}"', "speech.say: there is no field {lable}"),
        ('say_left = "{"', "speech.say_left: not a valid template"),
        ('language = "-w/tmp/x"', "speech.language"),
        ('voice = "../x"', "speech.voice"),
        ("repeat_s = -1", "speech.repeat_s"),
    ],
)
def test_a_wrong_table_is_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(f"[speech]\n{text}\n")
    assert what in str(caught.value)


@pytest.mark.skipif(not ESPEAK, reason="no espeak-ng: apt install espeak-ng")
def test_espeak_speaks_the_label(tmp_path: Path) -> None:
    """The whole way: from the configuration through the outbox to a WAV file."""
    file = tmp_path / "said.wav"
    settings = parse_settings(
        f'output.format = "none"\n[speech]\nlanguage = "de"\nvoice = "f3"\n'
        f'arguments = ["-w", "{file}"]\nsay = "{{label}} ist da"\n'
    )
    (box,) = open_sinks(settings, Host(), lossless=False).values()
    try:
        box.publish(make_event(label="Käsekuchen"))
        for _ in range(1200):
            if box.counts().waiting == 0:
                break
            time.sleep(0.05)
    finally:
        box.close(1.0)
    assert box.counts().delivered == 1, box.last_error
    with wave.open(str(file)) as said:
        frames, rate = said.readframes(said.getnframes()), said.getframerate()
    assert len(frames) / 2 / rate > 0.5  # seconds
    assert max(frames) > 0
