"""The files of the page as they are sent, and the catalogue of its texts."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_runtime.settings import Settings
from edge_runtime.settings.camera import CameraSettings, RegionSettings
from edge_runtime.settings.editable import described
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


LATER = ("settings", "cameras", "regions")
"""Modules of the view of settings, whose texts have a catalogue of their own."""


def _texts_of(files: Iterable[Path]) -> set[str]:
    """Return every text of these modules that can be translated."""
    found: set[str] = set()
    for file in files:
        source = file.read_text(encoding="utf-8")
        literals = [*_CALLS.findall(source), *sum(_PLURALS.findall(source), ())]
        found |= {json.loads(f'"{each}"') for each in literals}
    return found


def _texts() -> set[str]:
    """Return the texts that the page needs at once."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    modules = [file for file in STATIC.glob("*.js") if file.stem not in LATER]
    found = _texts_of(modules)
    return found | {each.strip() for each in (*_ELEMENTS.findall(page), *_ATTRIBUTES.findall(page))}


def _texts_of_settings() -> set[str]:
    """Return the texts of the settings: of their modules, and what the daemon says of keys."""
    settings = replace(Settings(), cameras={"NAME": CameraSettings()})
    settings = replace(settings, regions={"NAME": RegionSettings(area=[0, 0, 1, 1])})
    tables = [
        table
        for each in (Settings(), settings)
        for table in described(each, each, frozenset())
        if not table["name"].startswith("regions.")  # drawn, without texts
    ]
    shown = {table["text"] for table in tables}
    for table in tables:
        for key in table["keys"]:
            shown.add(key["text"])
    return _texts_of(STATIC / f"{name}.js" for name in LATER) | shown


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("view", ["", "settings."])
def test_every_text_is_translated(language: str, view: str) -> None:
    catalog = json.loads((STATIC / "lang" / f"{view}{language}.json").read_text(encoding="utf-8"))
    texts = _texts_of_settings() - _texts() if view else _texts()
    assert len(texts) > 100
    assert texts - catalog.keys() == set(), "not translated"
    assert catalog.keys() - texts == set(), "not used"
    for text, translated in catalog.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", translated))


def test_every_key_of_the_settings_has_a_name_in_words() -> None:
    """A key without a name would be shown as it is written in the file, in English."""
    source = (STATIC / "settings.js").read_text(encoding="utf-8")
    named = re.search(r"const NAMES = \{(.*?)\n\};", source, re.DOTALL)
    assert named
    settings = Settings()
    for table in described(settings, settings, frozenset()):
        for key in table["keys"]:
            assert re.search(rf"\b{key['name']}: key\(", named[1]), key["name"]
