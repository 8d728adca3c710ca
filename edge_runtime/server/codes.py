"""What the server searches: its interface, and the values that go in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, words_of
from edge_runtime.errors import CodeError
from edge_runtime.position import QueryPosition
from edge_runtime.types import LabelSimilarity, Match, Verdict


@dataclass(frozen=True)
class Content:
    """What is searched, at one version."""

    version: str
    """Changes with every change of the content; 1 to 64 of the characters a-z, 0-9 and -."""
    model_id: str
    bits: int
    codes: int
    labels: int


@dataclass(frozen=True)
class Scope:
    """What all codes of a request share."""

    k: int = 5
    radius: int | None = None
    """Largest distance of a match, bits; None for no limit."""
    near: QueryPosition | None = None


@dataclass(frozen=True, eq=False)
class Query:
    """One code that is looked up."""

    code: Code
    """uint64 [W]"""
    scope: Scope
    features: NDArray[np.float32] | None = None
    """The features behind the code, [F]; any scale."""


@dataclass(frozen=True)
class Answer:
    """What was found for one query."""

    matches: tuple[Match, ...]
    """Pictures, nearest first, ties by id; with features, the most similar first."""
    labels: tuple[LabelSimilarity, ...] | None = None
    """Labels by their similarity; None unless features were sent and the gallery has some."""
    verdict: Verdict | None = None
    """The label by similarity, as calibrated on the gallery; None as above."""


class Codes(Protocol):
    """A set of labeled codes. Used by one thread, except for `where`."""

    where: str
    """Its file or address, without secrets."""

    def content(self) -> Content:
        """Return what is searched now; raises `EdgeRuntimeError`."""

    def near(self, queries: Sequence[Query]) -> tuple[Content, list[Answer]]:
        """Answer all `queries` from one version, or raise `EdgeRuntimeError`.

        An answer is complete or an error: never a part of it.
        """

    def close(self) -> None:
        """Release all resources."""


def code_to_hex(code: Code, bits: int) -> str:
    """Return a code (uint64 [W]) as exports write it: bit i is bit i % 8 of byte i // 8."""
    return code.astype("<u8").tobytes()[: -(-bits // 8)].hex()


def code_from_hex(text: str, bits: int) -> Code:
    """Return the code (uint64 [W]) that `code_to_hex` wrote; raises `CodeError`."""
    octets = -(-bits // 8)
    try:
        data = bytes.fromhex(text) if text.isascii() and " " not in text else b""
    except ValueError:
        data = b""
    if len(data) != octets or len(text) != 2 * octets:
        raise CodeError(
            f"not a code of {bits} bits: {text!a:.40}", remedy=f"send {2 * octets} hex digits"
        )
    if bits % 8 and data[-1] >> bits % 8:
        raise CodeError(f"the code has bits set beyond bit {bits}: {text!a:.40}")
    return np.frombuffer(data.ljust(8 * words_of(bits), b"\0"), "<u8").astype(np.uint64)
