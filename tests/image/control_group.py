"""A control group with a memory limit, as a service with MemoryMax= has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_TREE = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a group of at most `limit` bytes without swap; skip the test where that is not possible.

    A process joins by writing its id to the file cgroup.procs of the group.
    """
    version_1 = (_TREE / "memory" / "memory.limit_in_bytes").exists()
    group = (_TREE / "memory" if version_1 else _TREE) / f"edge-runtime-test-{os.getpid()}"
    most, swap = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if version_1
        else ("memory.max", "memory.swap.max")
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a control group here: {error}")
    try:
        try:
            (group / most).write_text(str(limit))
        except OSError as error:
            pytest.skip(f"control groups do not limit memory here: {error}")
        with suppress(OSError):  # without swap accounting
            (group / swap).write_text(str(limit) if version_1 else "0")
        yield group
    finally:
        group.rmdir()


def killed(group: Path) -> int:
    """Return how many processes of the group the kernel has killed."""
    for name in ("memory.events", "memory.oom_control"):
        with suppress(OSError):
            lines = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(lines["oom_kill"])
    raise AssertionError(f"{group} does not count what was killed")
