from typing import Any

from numpy.typing import NDArray

def search(
    codes: NDArray[Any],
    count: int,
    bits: int,
    queries: NDArray[Any],
    query_count: int,
    k: int,
    alive: NDArray[Any] | None,
    rows: NDArray[Any],
    distances: NDArray[Any],
    found: NDArray[Any],
    kernel: str,
    /,
) -> None: ...
def index_build(
    codes: NDArray[Any],
    count: int,
    parts: int,
    part: int,
    width: int,
    starts: NDArray[Any],
    entries: NDArray[Any],
    /,
) -> None: ...
def index_search(
    tables: tuple[NDArray[Any], ...],
    widths: tuple[int, ...],
    count: int,
    query: NDArray[Any],
    k: int,
    alive: NDArray[Any] | None,
    work: int,
    rows: NDArray[Any],
    distances: NDArray[Any],
    /,
) -> int | None: ...
def kernels() -> list[str]: ...
