"""Keys of a TOML text are changed; comments, order and all other values stay."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.settings.toml_edit import edited

FILE = """\
# the kitchen's board
gallery.path = "g.sqlite"   # beside this file

[camera]   # on the shelf
source = "rtsp://host/a#b?c=[d]"  # = not a key
  width = 640

# [decision] was tuned in May
[decision]
window = 5   # frames
names = [
  "a", # first
  "b",
]

[mqtt]
# the broker in the cellar
host = 'broker'

[http]
port = 0
"""


def test_a_value_is_replaced_in_its_line() -> None:
    new = edited(FILE, {("decision", "window"): 7, ("camera", "source"): "0"})
    assert new == FILE.replace("window = 5 ", "window = 7 ").replace(
        '"rtsp://host/a#b?c=[d]"', '"0"'
    )


def test_a_new_key_follows_those_of_its_table() -> None:
    new = edited(
        FILE,
        {
            ("camera", "fps"): 2.5,
            ("gallery", "keep_pictures"): True,
            ("regions", "door", "area"): [0.0, 0.5, 1.0, 0.5],
        },
    )
    assert "  width = 640\n  fps = 2.5\n" in new
    assert "# beside this file\ngallery.keep_pictures = true\n" in new
    assert new.endswith("port = 0\n\n[regions.door]\narea = [0.0, 0.5, 1.0, 0.5]\n")
    assert set(re.findall("#.*", FILE)) <= set(re.findall("#.*", new))


def test_keys_and_tables_are_removed() -> None:
    new = edited(FILE, {("mqtt",): None, ("decision", "names"): None, ("camera", "x"): None})
    assert "cellar" not in new and "names" not in new
    assert new.endswith("window = 5   # frames\n\n[http]\nport = 0\n")


def test_the_line_endings_of_the_file_are_used() -> None:
    new = edited(FILE.replace("\n", "\r\n"), {("camera", "fps"): 2, ("new", "key"): 1})
    assert not re.search(r"[^\r]\n", new)
    assert edited("a = 1", {("b", "c"): 2}) == "a = 1\n\n[b]\nc = 2\n"


@pytest.mark.parametrize(
    "text", ["camera = {fps = 1}\n", "[[camera]]\nfps = 1\n", "camera = 3\n", "[camera.fps]\n"]
)
def test_an_unusual_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^edge\.toml: .*only an editor") as error:
        edited(text, {("camera", "fps"): 2, ("camera", "width"): 64}, where="edge.toml")
    assert "\n" not in str(error.value)


def test_texts_in_triple_quotes_and_keys_in_quotes() -> None:
    text = '[a]\nb = """\nx = 1 # no comment\n[c]\n"""  # yes\n"d e" = 1\n\'f.g\' = [1,\n2]\n'
    new = edited(text, {("a", "h"): 2, ("a", "f.g"): 3})
    assert new == text.replace("[1,\n2]", "3") + "h = 2\n"


NAMES = st.sampled_from(["a", "b", "long-name", "x_1"])
TEXTS = st.text(max_size=8).filter(lambda text: text.isprintable())
VALUES = st.one_of(st.integers(-9, 9), st.booleans(), TEXTS, st.lists(st.floats(0, 1), max_size=3))


def _written(value: Any) -> str:
    from edge_runtime.settings.describe import to_toml

    return to_toml(value)


@st.composite
def _files(draw: st.DrawFn) -> str:
    """Return a file as people write it: tables, dotted keys, comments, empty lines."""
    note = draw(st.sampled_from(["", "  # note [x] = 'y'", " #"]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    top = draw(st.dictionaries(st.tuples(st.just("top"), NAMES), VALUES, max_size=2))
    lines = [f"{'.'.join(key)} = {_written(value)}{note}" for key, value in top.items()]
    tables = draw(st.dictionaries(st.sampled_from(["t", "u", "g.n", "g.m"]), st.none(), max_size=3))
    for table in tables:
        lines += ["", f"# about {table}", f"[{table}]{note}"]
        keys = draw(st.dictionaries(NAMES, VALUES, max_size=3))
        lines += [f"{name} = {_written(value)}{note}" for name, value in keys.items()]
    return newline.join(lines) + draw(st.sampled_from(["", newline]))


PATHS = st.tuples(st.sampled_from(["top", "t", "u", "v"]), NAMES) | st.tuples(
    st.just("g"), st.sampled_from(["n", "o"]), NAMES
)


@given(_files(), st.dictionaries(PATHS, st.none() | VALUES, max_size=4))
def test_the_result_has_the_wanted_values_and_every_comment(
    text: str, changes: dict[tuple[str, ...], Any]
) -> None:
    wanted: dict[str, Any] = tomllib.loads(text)
    kept = text
    for path, value in changes.items():
        place = wanted
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place.pop(path[-1], None)
        if value is not None:
            place[path[-1]] = value
        else:
            kept = ""
    new = edited(text, changes)

    def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
        if not isinstance(value, dict):
            return {path: value}
        parts = (leaves(part, (*path, name)) for name, part in value.items())
        return {key: leaf for part in parts for key, leaf in part.items()}

    assert leaves(tomllib.loads(new)) == leaves(wanted)
    assert [line for line in kept.splitlines() if line.startswith("#")] == [
        line for line in new.splitlines() if line.startswith("#") and kept
    ]


@given(TEXTS | st.text(max_size=5))
def test_any_text_is_written_as_it_is_or_refused(text: str) -> None:
    try:
        new = edited("[a]\n", {("a", "b"): text})
    except ConfigError:
        assert any(0xD800 <= ord(each) <= 0xDFFF for each in text)
    else:
        assert tomllib.loads(new) == {"a": {"b": text}}


CAMERA, DOOR = ("camera",), ("cameras", "door")


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (FILE, FILE.replace("[camera]   # on", "[cameras.door]   # on")),
        ("camera.source = '0' # a\n", "cameras.door.source = '0' # a\n"),
        ("a = 1\n  camera . fps=2\n", "a = 1\n  cameras.door.fps =2\n"),
        ("camera = {fps = 1, source = '='}\n", "cameras.door = {fps = 1, source = '='}\n"),
        ("[ camera ] # [camera]\nfps = 2", "[cameras.door] # [camera]\nfps = 2"),
        ("[camera.more]\na = 1\n[camera]\n", "[cameras.door.more]\na = 1\n[cameras.door]\n"),
        ("", "[cameras.door]\n"),
        ("[b]\nc = 2", "[b]\nc = 2\n\n[cameras.door]\n"),
    ],
)
def test_a_table_gets_another_name_in_place(text: str, new: str) -> None:
    assert edited(text, {}, renames=[(CAMERA, DOOR)]) == new
    crlf = edited(text.replace("\n", "\r\n"), {}, renames=[(CAMERA, DOOR)])
    assert crlf == (new.replace("\n", "\r\n") if "\n" in text else new)
    if "camera" in text and "[" in text:
        back = edited(new, {}, renames=[(DOOR, CAMERA)])
        assert tomllib.loads(back) == tomllib.loads(text)


def test_a_name_that_is_taken_or_elsewhere_is_refused() -> None:
    for text in ("[camera]\nfps = 1\n[cameras.door]\nfps = 2\n", "[[camera]]\nfps = 1\n"):
        with pytest.raises(ConfigError, match="only an editor"):
            edited(text, {}, renames=[(CAMERA, DOOR)])
    within = "[cameras]\ndoor.fps = 1\n"
    assert edited(within, {}, renames=[(DOOR, ("cameras", "x"))]) == "[cameras]\nx.fps = 1\n"
