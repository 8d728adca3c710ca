"""Speak the label of each event, for those who do not look."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_runtime.sinks.base import Sink
from edge_runtime.sinks.command import run_program
from edge_runtime.sinks.message import message_of
from edge_runtime.types import Event

MOST_TEXTS = 256
"""Texts of which the sink remembers when they were last spoken."""


@dataclass(frozen=True)
class SpeechOptions:
    """What is spoken, and how; see `SpeechSettings`."""

    program: str = "espeak-ng"
    language: str = "en"
    voice: str = ""
    arguments: Sequence[str] = ()
    say: str = "{label}"
    say_left: str = ""
    repeat_s: float = 30.0
    timeout_s: float = 15.0

    @property
    def command(self) -> list[str]:
        """The program with its arguments; the text comes on its standard input."""
        name = f"{self.language}+{self.voice}" if self.voice else self.language
        return [self.program, "-v", name, "--stdin", *self.arguments]


class SpeechSink(Sink):
    """Runs espeak-ng, or a program with the same options, once per text, without a shell.

    The text is on its standard input, so that no label is taken for an option.
    """

    name = "speech"

    def __init__(
        self, options: SpeechOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` returns seconds."""
        self._options = options
        self._clock = clock
        self._spoken_s: OrderedDict[str, float] = OrderedDict()

    def publish(self, event: Event) -> None:
        """See `Sink.publish`; a text that was spoken less than `repeat_s` ago is left out."""
        template = self._options.say if event.kind == "enter" else self._options.say_left
        text = " ".join(message_of(event, template).split()) if template else ""
        now_s = self._clock()
        last_s = self._spoken_s.get(text)
        if not text or (last_s is not None and now_s - last_s < self._options.repeat_s):
            return
        run_program(
            self._options.command,
            f"{text}\n".encode(),
            environment=os.environ,
            timeout_s=self._options.timeout_s,
            where=f"speech {self._options.program}",
        )
        self._spoken_s[text] = now_s
        self._spoken_s.move_to_end(text)
        while len(self._spoken_s) > MOST_TEXTS:
            self._spoken_s.popitem(last=False)
