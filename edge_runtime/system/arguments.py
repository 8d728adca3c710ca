"""Hide secrets among this process's arguments, which every user of the machine can list."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.redaction import redact

_PROCESS = Path("/proc/self")
_ARGUMENTS_BEGIN = 48
"""Number of the field in /proc/self/stat, proc(5), that holds the address of the arguments."""


def hide_secrets() -> None:
    """Overwrite the secrets in the command line that `ps` shows; `sys.argv` stays.

    Where the system does not permit it, nothing changes.
    """
    try:
        shown = (_PROCESS / "cmdline").read_bytes()
        hidden = b"\0".join(map(_hidden, shown.split(b"\0")))
        if hidden == shown:
            return
        fields = (_PROCESS / "stat").read_text().rpartition(")")[2].split()
        with (_PROCESS / "mem").open("r+b", buffering=0) as memory:
            address = int(fields[_ARGUMENTS_BEGIN - 3])
            memory.seek(address)
            if memory.read(len(shown)) == shown:
                memory.seek(address)
                memory.write(hidden)
    except (OSError, ValueError, IndexError, OverflowError):
        return


def _hidden(argument: bytes) -> bytes:
    """Return an argument of the same length without secrets."""
    text = argument.decode(errors="surrogateescape")
    without = redact(text)
    if without == text:
        return argument
    return without.encode(errors="surrogateescape")[: len(argument)].ljust(len(argument))
