"""The arena: where every tensor is stored, and which tensors share bytes."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64


@dataclass
class Tensor:
    """A tensor in the arena, with its border."""

    size: int
    """Side in pixels, without the border."""
    channels: int
    width: int
    """Bytes per number."""
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    first_step: int = 0
    """The step that writes the tensor."""
    last_step: int = 0
    """The last step that reads it."""
    offset: int = 0
    numbers: int = 0
    """Count of numbers, for a tensor in a kernel's own layout instead of a picture's."""
    fill_byte: int = 0
    """Value of each byte of the border."""
    persistent: bool = False
    """Computed once, when a network is opened."""

    def coexists_with(self, other: Tensor) -> bool:
        """Whether both tensors hold live data at the same step."""
        together = self.first_step <= other.last_step and other.first_step <= self.last_step
        return together or self.persistent or other.persistent

    @property
    def rows(self) -> int:
        """Rows, border included."""
        return self.size + self.border[0] + self.border[2]

    @property
    def columns(self) -> int:
        """Columns, border included."""
        return self.size + self.border[1] + self.border[3]

    @property
    def stride(self) -> int:
        """Numbers per row, border included."""
        return self.columns * self.channels

    @property
    def bytes(self) -> int:
        """Bytes of the whole tensor, border included."""
        return (self.numbers or self.rows * self.stride) * self.width

    @property
    def interior_offset(self) -> int:
        """Offset in bytes of the first pixel inside the border."""
        before = self.border[0] * self.stride + self.border[1] * self.channels
        return self.offset + before * self.width


@dataclass(frozen=True)
class TensorRef:
    """The place where a kernel reads or writes a tensor."""

    tensor: Tensor
    interior: bool = False
    """Start at the first pixel inside the border."""
    skip: int = 0
    """Numbers to skip."""

    @property
    def offset(self) -> int:
        """Offset in the arena, bytes."""
        begin = self.tensor.interior_offset if self.interior else self.tensor.offset
        return begin + self.skip * self.tensor.width


def assign_offsets(tensors: list[Tensor]) -> int:
    """Place every tensor in the arena: the largest first, each at the lowest free offset.

    Returns the size of the arena in bytes.
    """
    placed: list[Tensor] = []
    for tensor in sorted(tensors, key=lambda tensor: -tensor.bytes):
        others = sorted(
            (other for other in placed if tensor.coexists_with(other)),
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
