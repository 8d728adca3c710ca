"""Ask a server for what the board's own gallery does not know, beside the main loop.

The main loop only looks into the answers that have arrived, and leaves a code to be asked. A thread
asks, with a deadline. So a server that is slow, dead or wrong delays nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.code import Embedding
from edge_runtime.daemon.parts import Change
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.remote.client import (
    MOST_CODES,
    LookupClient,
    RemoteAnswer,
    must_stay_unknown,
)
from edge_runtime.settings import Settings
from edge_runtime.settings.secrets import read_token
from edge_runtime.settings.server import ServerSettings
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import QueryResult

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

log = logging.getLogger(__name__)

MOST_ANSWERS = 4096
"""Answers that are kept, the latest used. Each takes about a kilobyte."""
SHORTEST_S, LONGEST_S = 1.0, 60.0
"""Shortest and longest pause after a failure. It doubles each time."""


@dataclass
class Counts:
    """How many codes were asked, and what came of it, since the start."""

    asked: int = 0
    """Codes that were sent."""
    answered: int = 0
    failed: int = 0
    """Codes whose question failed. They are asked again when they are seen again."""
    dropped: int = 0
    """Codes that were not asked, since too many waited or the server had just failed."""
    version: str = ""
    """That of the last answer."""
    last_error: str = ""
    """Empty if the last question was answered."""


class ServerAnswers:
    """The answers of a server; an `AttachedPart`."""

    def __init__(self, service: Service, settings: ServerSettings) -> None:
        """Give the daemon of `service` a second opinion; raises `ConfigError`."""
        self._model = service.engine.model
        self._settings = settings
        self._neighbors = service.settings.decision.neighbors
        self._client = self._make_client(settings)
        self.counts = Counts()
        self._changed = threading.Condition()
        self._answers: OrderedDict[bytes, RemoteAnswer] = OrderedDict()
        self._waiting: OrderedDict[bytes, Embedding] = OrderedDict()
        self._asking: frozenset[bytes] = frozenset()
        self._resume_s = 0.0
        self._pause_s = SHORTEST_S
        self._checked_s = time.monotonic()
        self._closed = False
        self._thread = HelperThread("server", self._run)
        service.daemon.second_opinion = self.of

    @property
    def threads(self) -> Sequence[HelperThread]:
        """See `AttachedPart`."""
        return (self._thread,)

    def check(self) -> None:
        """See `AttachedPart`: a failure of the server stops nothing."""

    def prepare(self, settings: Settings) -> Change:
        """See `AttachedPart`."""
        new = settings.server
        if new is None:
            return Change(needs_restart=True)
        client = self._make_client(new)

        def apply() -> None:
            with self._changed:
                if new != self._settings:
                    self._answers.clear()
                self._settings, self._client = new, client
                self._neighbors = settings.decision.neighbors
                self._resume_s, self._pause_s = 0.0, SHORTEST_S

        return Change(apply, tables=frozenset({"server"}))

    def close(self, wait_s: float) -> None:
        """See `AttachedPart`. A question that is under way is abandoned."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.stop()
        self._thread.join(wait_s)

    def of(self, result: QueryResult, labels: Collection[str] | None) -> QueryResult:
        """Return `result` with the server's verdict, if it has arrived; else have it asked.

        Called on the main loop's thread for what the gallery does not know. Never waits. What the
        owner has enrolled as `UNKNOWN` is not asked.
        """
        embedding = result.embedding
        if embedding is None or must_stay_unknown(result, self._model.radius):
            return result
        key = embedding.code.tobytes()
        with self._changed:
            answer = self._answers.get(key)
            if answer is None:
                self._leave(key, embedding)
                return result
            self._answers.move_to_end(key)
            radius = self._settings.radius
        verdict = answer.judged(self._model.radius if radius < 0 else radius, labels)
        if verdict.label is None:
            return result
        return replace(result, verdict=verdict, matches=answer.matches, label_similarities=None)

    def status(self) -> dict[str, object]:
        """Return the counts for the status of the daemon."""
        counts = asdict(self.counts)
        return {"url": self._client.url, **counts, "last_error": counts["last_error"] or None}

    def _leave(self, key: bytes, embedding: Embedding) -> None:
        """Leave a code to be asked, once; the newest replaces the oldest."""
        if key in self._waiting or key in self._asking:
            return
        if time.monotonic() < self._resume_s:
            self.counts.dropped += 1
            return
        self._waiting[key] = embedding
        if len(self._waiting) > MOST_CODES:
            self._waiting.popitem(last=False)
            self.counts.dropped += 1
        self._changed.notify()

    # -- on the helper thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                due_s = self._checked_s + self._settings.refresh_s - time.monotonic()
                self._changed.wait_for(lambda: self._closed or self._waiting, max(0.0, due_s))
                if self._closed:
                    return
                asked, self._waiting = self._waiting, OrderedDict()
                self._asking = frozenset(asked)
            try:
                self._ask(asked)
            finally:
                self._asking = frozenset()

    def _ask(self, asked: OrderedDict[bytes, Embedding]) -> None:
        client, settings, found = self._client, self._settings, None
        try:
            if asked:
                self.counts.asked += len(asked)
                found = client.near(
                    list(asked.values()), self._neighbors, features=settings.features
                )
                version = found.version
            elif self._answers and time.monotonic() >= self._resume_s:
                version = client.version()
            else:
                self._checked_s = time.monotonic()
                return
        except EdgeRuntimeError as error:
            self._failed(len(asked), error)
            return
        with self._changed:
            self._checked_s = time.monotonic()
            if version != self.counts.version or client is not self._client:
                self._answers.clear()
            if found is not None and client is self._client:
                self._answers.update(zip(asked, found.answers, strict=True))
                while len(self._answers) > MOST_ANSWERS:
                    self._answers.popitem(last=False)
        if self.counts.last_error:
            log.info("%s: answers again", client.url)
        self.counts.answered += len(asked)
        self.counts.version, self.counts.last_error = version, ""
        self._pause_s = SHORTEST_S

    def _failed(self, count: int, error: EdgeRuntimeError) -> None:
        if not self.counts.last_error:
            log.warning("what the gallery does not know stays unknown: %s", error)
        self.counts.failed += count
        self.counts.last_error = str(error)
        with self._changed:
            self._checked_s = time.monotonic()
            self._resume_s = self._checked_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_S)

    def _make_client(self, settings: ServerSettings) -> LookupClient:
        token = read_token(settings.token_file) if settings.token_file else ""
        return LookupClient(settings.url, self._model, token=token, timeout_s=settings.timeout_s)
