"""Words of the page: headers with units, names, sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADERS = {
    "bytes_per_query": "bytes per query",
    "bytes_per_code": "bytes per code",
    "cpu_seconds": "CPU time of a run (s)",
    "ms_per_query": "CPU time per query (ms)",
    "search_ms": "search (ms)",
    "MB": "size (MB)",
    "million_multiply_adds": "multiply-adds (million)",
    "million_without_zeros": "multiply-adds without zeros (million)",
}
"""Key of a figure -> header of its column; other keys are made of their words."""
UNITS = {"percent": "%", "ms": "ms", "mb": "MB", "s": "s"}
"""Last word of a key -> unit."""
NAMES = {
    "mobilenet": "MobileNet-v1",
    "small-alexnet": "AlexNet-shaped network",
    "cortex_a53": "Cortex-A53",
    "cortex_a72": "Cortex-A72",
    "cortex-a53": "Cortex-A53",
    "cortex-a72": "Cortex-A72",
}
"""Names in result files -> names in print."""
SETS = ("grocery", "ie_tower", "objects")
_NAME = re.compile(rf"(?<![\w/.-])({'|'.join(map(re.escape, NAMES))})(?![\w/.-]*\w)")
_KEY = re.compile(rf"(?<![\w/-])({'|'.join(key for key in HEADERS if '_' in key)})(?![\w/])")
_SET = re.compile(r"(?<![\w/`.])(grocery|ie_tower|objects(?=[:,;]))(?![\w/])")


def header(key: str) -> str:
    """Return the header of the column of a figure, with its unit."""
    if key in HEADERS:
        return HEADERS[key]
    words = key.split("_")
    unit = UNITS.get(words[-1])
    return f"{' '.join(words[:-1])} ({unit})" if unit and len(words) > 1 else " ".join(words)


def named(text: str) -> str:
    """Return the text with the names of networks and CPUs as they are printed."""
    return _NAME.sub(lambda found: NAMES[found[1]], text)


def sentence(text: str) -> str:
    """Return the text as a sentence: a capital letter unless it begins with a name; a full stop."""
    text = _KEY.sub(lambda found: f'"{HEADERS[found[1]]}"', named(text))
    text = _SET.sub(r"`\1`", text)
    first = re.match(r"[\w.-]*\w", text)
    word = first[0] if first else ""
    if "_" in word:
        text = f"`{word}`{text[len(word) :]}"
    elif word.isalpha() and word.islower():
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def short(value: str | int | float) -> str:
    """Format a figure with the digits that matter."""
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"
    return str(value)


def cell(text: str) -> str:
    """Return text that a cell of a markdown table can hold."""
    return text.replace("|", "\\|").replace("\n", " ")


def once(names: Iterable[str]) -> list[str]:
    """Return the names with each repetition of the one above left blank."""
    found: list[str] = []
    last = None
    for name in names:
        found.append("" if name == last else name)
        last = name
    return found
