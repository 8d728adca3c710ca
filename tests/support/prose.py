"""The prose of the repository: documents, messages, docstrings and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`|(?<!\w)--[a-z-]+ \w+")
"""Code in backticks, and options with their value."""
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
SHELL_COMMENT = re.compile(r"(?:^|\s)#[^\n]*")
STRING_TOKENS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of each piece of prose in a file; code in backticks is left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        pieces = _python(text)
    elif path.suffix in (".c", ".h", ".js", ".css"):
        pieces = _matches(C_COMMENT, text)
    elif path.suffix in (".sh", ".toml", ".mk", ".service") or path.name in ("Makefile", "run"):
        pieces = _matches(SHELL_COMMENT, text)
    else:
        pieces = iter([(1, FENCE.sub(lambda found: "\n" * found[0].count("\n"), text))])
    for line, piece in pieces:
        yield line, INLINE_CODE.sub("", piece)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    for found in pattern.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[0]


def _python(text: str) -> Iterator[tuple[int, str]]:
    """Yield comments and every string that holds more than one word."""
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line, words = token.start[0], token.string.lstrip("# ")
            if comments and comments[-1][0] + comments[-1][1].count("\n") == line - 1:
                comments[-1] = (comments[-1][0], f"{comments[-1][1]}\n{words}")
            else:
                comments.append((line, words))
    yield from comments
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
