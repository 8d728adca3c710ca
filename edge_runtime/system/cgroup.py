"""The memory that the control groups of this process still allow, as MemoryMax= of a service."""

from __future__ import annotations

from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_VERSIONS = (
    ("", "memory.max", "memory.current"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Of control groups: the name of the tree, its limit, and what is used of it."""


def free_memory(groups: Path = Path("/proc/self/cgroup"), mount: Path = _MOUNT) -> int | None:
    """Return the bytes that this process may still use; None without a limit.

    The page cache counts as free, since the kernel drops it first.
    """
    free = []
    for line in _text(groups).splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for tree, limit_name, used_name in _VERSIONS:
            if tree != names and tree not in names.split(","):
                continue
            group = mount / tree / path.lstrip("/")
            for folder in (group, *group.parents):
                if not folder.is_relative_to(mount / tree):
                    break
                limit, used = _text(folder / limit_name), _text(folder / used_name)
                if limit and used and limit.strip().isdecimal():
                    free.append(int(limit) - int(used) + _cache(folder))
    return max(min(free), 0) if free else None


def _cache(folder: Path) -> int:
    """Return the bytes of files in the page cache of a group, those of shared memory left out."""
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    values = {words[0]: int(words[1]) for words in lines if len(words) == 2}
    return values.get("inactive_file", 0) + values.get("active_file", 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
