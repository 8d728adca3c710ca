"""Read the memory of a process from /proc. Imports nothing, so that it fits a cold start."""

NETWORK_FILE = "libedge.so"
"""The library in a bundle. `edge_runtime.bundle` is not imported yet in a cold start."""

_FIGURES = {"Rss", "Pss", "Private_Clean", "Private_Dirty"}


def memory(pid: int | str = "self") -> dict[str, dict[str, int]]:
    """Return "usage" (rss, pss, uss, private dirty) and resident memory by "kinds", bytes.

    Kinds of mappings: library, network (the compiled one), file (any other file) and memory
    (without a file). Raises `OSError` without /proc/PID/smaps.
    """
    sums = dict.fromkeys(sorted(_FIGURES), 0)
    kinds = {"library": 0, "network": 0, "file": 0, "memory": 0}
    kind = "memory"
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
        for line in lines:
            name, _, rest = line.partition(":")
            if name in _FIGURES:
                size = int(rest.split()[0]) * 1024
                sums[name] += size
                if name == "Rss":
                    kinds[kind] += size
            elif "-" in name.partition(" ")[0]:  # a mapping begins with its address range
                parts = line.split(maxsplit=5)
                kind = _kind(parts[5].strip() if len(parts) == 6 else "")
    return {
        "usage": {
            "rss_bytes": sums["Rss"],
            "pss_bytes": sums["Pss"],
            "uss_bytes": sums["Private_Clean"] + sums["Private_Dirty"],
            "private_dirty_bytes": sums["Private_Dirty"],
        },
        "kinds": kinds,
    }


def _kind(path: str) -> str:
    if not path.startswith("/") or path.startswith(("/memfd:", "/dev/zero", "/SYSV")):
        return "memory"
    name = path.rpartition("/")[2]
    if name == NETWORK_FILE:
        return "network"
    return "library" if ".so" in name else "file"
