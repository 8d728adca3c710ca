"""The files of the page as they are sent, and the catalogue of its texts."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.web.routes.page import STATIC
from tests.support.web import Client, start

LANGUAGES = ("de", "es")
_CALLS = re.compile(r"""\b(?:t|key)\(\s*"((?:[^"\\]|\\.)*)\"""")
_PLURALS = re.compile(r"""\bplural\([^"]*?"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)\"""")
_ELEMENTS = re.compile(r"<[^>]*\bdata-i18n(?=[\s>])[^>]*>([^<]+)<")
_ATTRIBUTES = re.compile(r'\bdata-i18n-(?:label|placeholder)="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Client]:
    process = start(tmp_path_factory.mktemp("site"), film)
    yield Client(process)
    process.end()


def test_files_are_compressed_and_sent_once(site: Client) -> None:
    plain = site.ask("GET", "/app.js")
    packed = site.ask("GET", "/app.js", Accept_Encoding="gzip")
    assert plain.headers["Content-Encoding"] is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body == (STATIC / "app.js").read_bytes()
    assert len(packed.body) < len(plain.body) / 2
    known = site.ask("GET", "/app.js", If_None_Match=plain.headers["ETag"])
    assert (known.status, known.body) == (304, b"")
    assert site.ask("GET", "/app.js", If_None_Match='"other"').body == plain.body
    assert site.ask("GET", "/icon-192.png", Accept_Encoding="gzip").body[:4] == b"\x89PNG"


def _texts() -> set[str]:
    """Return every text of the page that can be translated."""
    found: set[str] = set()
    for file in STATIC.glob("*.js"):
        source = file.read_text(encoding="utf-8")
        literals = [*_CALLS.findall(source), *sum(_PLURALS.findall(source), ())]
        found |= {json.loads(f'"{each}"') for each in literals}
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    return found | {each.strip() for each in (*_ELEMENTS.findall(page), *_ATTRIBUTES.findall(page))}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    catalog = json.loads((STATIC / "lang" / f"{language}.json").read_text(encoding="utf-8"))
    texts = _texts()
    assert len(texts) > 100
    assert texts - catalog.keys() == set(), "not translated"
    assert catalog.keys() - texts == set(), "not used"
    for text, translated in catalog.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", translated))
