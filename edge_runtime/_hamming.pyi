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
def kernels() -> list[str]: ...
