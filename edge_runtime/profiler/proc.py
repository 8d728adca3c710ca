"""What Linux says of a process's memory. Imports nothing, so that a cold start may ask at once."""

NETWORK_FILE = "libedge.so"
"""Of a bundle (`edge_runtime.bundle`, which a cold start has not loaded yet)."""

_FIGURES = {"Rss", "Pss", "Private_Clean", "Private_Dirty"}


def memory(pid: int | str = "self") -> dict[str, dict[str, int]]:
    """Bytes: "usage" (rss, pss, uss, private dirty) and resident bytes by "kind" of mapping.

    Kinds: library, network (the compiled one), file (any other), memory (of no file).
    Raises `OSError` where there is no /proc/PID/smaps.
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
            elif "-" in name.partition(" ")[0]:  # an address range begins a mapping
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
