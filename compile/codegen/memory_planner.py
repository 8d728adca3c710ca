"""The arena: where every tensor lies, and which ones may share bytes."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64


@dataclass
class Tensor:
    """A tensor in the arena, with its border."""

    size: int
    """Side, pixels, without the border."""
    channels: int
    width: int
    """Bytes of a number."""
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    born: int = 0
    """Step that writes it, as `dies` is the last one that reads it."""
    dies: int = 0
    offset: int = 0
    flat: int = 0
    """Numbers, where it is no picture but a kernel's own layout."""
    fill: int = 0
    """The byte that its border is made of."""
    lasting: bool = False
    """Made once, when a network is opened."""

    def meets(self, other: Tensor) -> bool:
        """Whether both are alive at some time."""
        together = self.born <= other.dies and other.born <= self.dies
        return together or self.lasting or other.lasting

    @property
    def rows(self) -> int:
        """With the border, as are `columns`, `stride` (numbers a row) and `bytes`."""
        return self.size + self.border[0] + self.border[2]

    @property
    def columns(self) -> int:
        """See `rows`."""
        return self.size + self.border[1] + self.border[3]

    @property
    def stride(self) -> int:
        """See `rows`."""
        return self.columns * self.channels

    @property
    def bytes(self) -> int:
        """See `rows`."""
        return (self.flat or self.rows * self.stride) * self.width

    @property
    def inside(self) -> int:
        """Offset of the first pixel that is not border, bytes."""
        before = self.border[0] * self.stride + self.border[1] * self.channels
        return self.offset + before * self.width


@dataclass(frozen=True)
class At:
    """Where a kernel reads or writes a tensor."""

    tensor: Tensor
    inside: bool = False
    """From the first pixel that is not border."""
    skip: int = 0
    """Numbers passed over."""

    @property
    def offset(self) -> int:
        """In the arena, bytes."""
        begin = self.tensor.inside if self.inside else self.tensor.offset
        return begin + self.skip * self.tensor.width


def lay_out(tensors: list[Tensor]) -> int:
    """Give every tensor its place: the largest first, each at the lowest free one.

    Returns the bytes of the whole arena.
    """
    placed: list[Tensor] = []
    for tensor in sorted(tensors, key=lambda tensor: -tensor.bytes):
        others = sorted(
            (other for other in placed if tensor.meets(other)),
            key=lambda other: other.offset,
        )
        tensor.offset = 0
        for other in others:
            if tensor.offset + tensor.bytes <= other.offset:
                break
            tensor.offset = max(tensor.offset, _aligned(other.offset + other.bytes))
        placed.append(tensor)
    return _aligned(max((t.offset + t.bytes for t in placed), default=0))


def _aligned(number: int) -> int:
    return -(-number // ALIGNMENT) * ALIGNMENT
