"""The compiled searches; edge_runtime/native/module.c documents the arguments."""

from typing import Any, TypeAlias

from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]
_Index: TypeAlias = object
"""A capsule that owns a multi-index."""

def search(
    codes: _Array,
    count: int,
    bits: int,
    queries: _Array,
    query_count: int,
    k: int,
    alive: _Array | None,
    group: _Array | None,
    wanted: _Array | None,
    rows: _Array,
    distances: _Array,
    found: _Array,
    kernel: str,
    /,
) -> None: ...
def rank(
    codes: _Array,
    count: int,
    bits: int,
    queries: _Array,
    query_count: int,
    order: _Array,
    kernel: str,
    /,
) -> None: ...
def collect(
    codes: _Array,
    count: int,
    bits: int,
    query: _Array,
    limit: int,
    alive: _Array | None,
    group: _Array | None,
    wanted: _Array | None,
    rows: _Array,
    distances: _Array,
    kernel: str,
    /,
) -> int: ...
def index_new(codes: _Array, count: int, bits: int, /) -> _Index: ...
def index_divide(index: _Index, parts: int, order: _Array, /) -> None: ...
def index_facts(index: _Index, /) -> tuple[int, int]: ...
def index_search(
    index: _Index,
    count: int,
    query: _Array,
    k: int,
    alive: _Array | None,
    group: _Array | None,
    wanted: _Array | None,
    rows: _Array,
    distances: _Array,
    work: int,
    kernel: str,
    /,
) -> tuple[int, int]: ...
def index_collect(
    index: _Index,
    count: int,
    query: _Array,
    limit: int,
    alive: _Array | None,
    group: _Array | None,
    wanted: _Array | None,
    rows: _Array,
    distances: _Array,
    work: int,
    /,
) -> int: ...
def kernels() -> list[str]: ...
def watch(mapped: object, /) -> int: ...
def forget(number: int, /) -> None: ...
def lost(number: int, /) -> bool: ...
def start_again(
    arguments: list[bytes] | None, environment: list[bytes], started_s: int, /
) -> None: ...
