"""Ask a server of codes. What it answers is checked before it is used."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from edge_runtime.code import Code, Embedding
from edge_runtime.errors import InputError, LabelError
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery.records import UNKNOWN, check_label
from edge_runtime.model import ModelInfo
from edge_runtime.position import QueryPosition
from edge_runtime.recognition.voting import image_verdict
from edge_runtime.redaction import redact
from edge_runtime.remote.http import RemoteError, send
from edge_runtime.types import SERVER, Match, QueryResult, Verdict

MOST_CODES = 64
"""Codes in one question."""
MOST_BYTES = 4 << 20
TIMEOUT_S = 10.0

Version = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$")]
Model = Annotated[str, Meta(max_length=64)]
T = TypeVar("T")


class _Match(msgspec.Struct, frozen=True):
    id: Annotated[int, Meta(ge=0)]
    label: str
    distance: Annotated[int, Meta(ge=0, le=4096)]
    penalty: Annotated[float, Meta(ge=0)] = 0.0
    meters: float | None = None
    similarity: float | None = None


class _Verdict(msgspec.Struct, frozen=True):
    label: str | None
    confidence: Annotated[float, Meta(ge=0, le=1)]
    distance: int | None = None
    similarity: float | None = None


class _Answer(msgspec.Struct, frozen=True):
    matches: Annotated[list[_Match], Meta(max_length=1000)]
    verdict: _Verdict | None = None


class _Answers(msgspec.Struct, frozen=True):
    version: Version
    model_id: Model
    answers: list[_Answer]


class _Content(msgspec.Struct, frozen=True):
    version: Version


@dataclass(frozen=True)
class RemoteAnswer:
    """What the server found for one code."""

    matches: tuple[Match, ...]
    verdict: Verdict | None
    """By similarity; None unless features were sent and the server's gallery has some."""

    def judged(self, radius: int, labels: Collection[str] | None = None) -> Verdict:
        """Return the verdict; without similarities, the matches within `radius` bits vote.

        `labels`: those that may be named; None for all.
        """
        allowed = None if labels is None else {*labels, UNKNOWN}
        if self.verdict is not None and (allowed is None or self.verdict.label in allowed):
            return self.verdict
        matches = [one for one in self.matches if allowed is None or one.label in allowed]
        return replace(image_verdict(matches, radius), origin=SERVER)


@dataclass(frozen=True)
class RemoteAnswers:
    """The answers to one question, in order of the codes."""

    version: str
    answers: list[RemoteAnswer]


class LookupClient:
    """Asks one server."""

    def __init__(
        self, url: str, model: ModelInfo, *, token: str = "", timeout_s: float = TIMEOUT_S
    ):
        """`timeout_s` bounds each question as a whole. Raises `InputError` for a bad address."""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username or parts.password:
            raise InputError(
                "not the address of a server", where=redact(url), remedy="write http://HOST:PORT"
            )
        self.url = url.rstrip("/")
        self._model = model
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def near(
        self,
        embeddings: Sequence[Embedding],
        k: int,
        *,
        features: bool = False,
        near: QueryPosition | None = None,
    ) -> RemoteAnswers:
        """Return the `k` pictures nearest to each code; raises `RemoteError`.

        Only the codes are sent, with `features` also what is behind them, with `near` the position.
        """
        body: dict[str, Any] = {
            "codes": [self._hex(each.code) for each in embeddings],
            "k": k,
        }
        if features:
            body["features"] = [_quantized(each) for each in embeddings]
        if near is not None:
            row = [value for value in near.position.to_row() if value == value]
            body["at"] = ",".join(f"{value:.7f}" for value in row)
            body["within_m"], body["meters_per_bit"] = near.within_m, near.meters_per_bit
        found = self._ask("POST", "/v1/near", json.dumps(body).encode(), _Answers)
        if len(found.answers) != len(embeddings):
            raise self._invalid("it has another number of answers")
        if not self._model.accepts_codes_of(found.model_id):
            raise RemoteError(
                f"its codes come from model {found.model_id[:12]}, not {self._model.id[:12]}",
                where=self.url,
                remedy="use the model with which its gallery was enrolled",
            )
        return RemoteAnswers(found.version, list(map(self._checked, found.answers)))

    def version(self) -> str:
        """Return the version of what the server searches; raises `RemoteError`."""
        return self._ask("GET", "/v1/content", None, _Content).version

    def _hex(self, code: Code) -> str:
        octets = -(-self._model.bits // 8)
        return code.astype("<u8").tobytes()[:octets].hex()

    def _ask(self, method: str, path: str, body: bytes | None, kind: type[T]) -> T:
        answer = send(
            method,
            self.url + path,
            body,
            self._headers,
            timeout_s=self._timeout_s,
            most_bytes=MOST_BYTES,
        )
        if answer.status != 200:
            raise RemoteError(
                f"the server responded {answer.status}{_said(answer.body)}", where=self.url
            )
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._invalid(f"{error}") from error

    def _checked(self, answer: _Answer) -> RemoteAnswer:
        try:
            matches = tuple(
                Match(
                    one.id,
                    check_label(one.label),
                    one.distance,
                    penalty=one.penalty,
                    meters=one.meters,
                    similarity=one.similarity,
                )
                for one in answer.matches
            )
            given = answer.verdict
            if given is None:
                return RemoteAnswer(matches, None)
            label = None if given.label is None else check_label(given.label)
            verdict = Verdict(label, given.confidence, given.distance, given.similarity, SERVER)
            return RemoteAnswer(matches, verdict)
        except LabelError as error:
            raise self._invalid(error.what) from error

    def _invalid(self, why: str) -> RemoteError:
        return RemoteError(
            f"not an answer of edge-runtime serve: {why:.100}",
            where=self.url,
            remedy="check the address",
        )


def must_stay_unknown(result: QueryResult, radius: int) -> bool:
    """Return whether the gallery says that this must not be named."""
    similar = result.label_similarities
    nearest = (similar[0].match if similar else None) or next(iter(result.matches), None)
    return nearest is not None and nearest.label == UNKNOWN and nearest.distance <= radius


def _quantized(embedding: Embedding) -> str | None:
    if embedding.features is None:
        return None
    return base64.b64encode(quantize(embedding.features[None])[0].tobytes()).decode()


def _said(body: bytes) -> str:
    """Return what an error says, if it is one of our servers'."""
    try:
        said = msgspec.json.decode(body, type=dict[str, str]).get("error", "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return f": {said:.150}" if said.isprintable() and said else ""
