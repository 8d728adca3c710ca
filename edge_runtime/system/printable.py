"""Text from outside, made safe for a terminal and a log."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, which a terminal acts on; line separators; marks that reorder the text
after them; and bytes of a file name that are not UTF-8."""


def printable(text: str) -> str:
    """Return `text` with every control character as an escape, such as \\x1b."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_json(text: str) -> str:
    """Return the JSON `text` with the control characters that JSON permits as escapes, too."""
    return _CONTROL.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )
