"""Model files that are damaged, foreign, incomplete or without meaning: each has its own reason."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.scenes import write_enrollment_photos
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.engine.refusal import refusal
from edge_runtime.errors import (
    EngineError,
    ModelError,
    ModelInvalidError,
    ModelNotFoundError,
    ResourceError,
)
from edge_runtime.model import check_model, copy_whole_model, identify
from edge_runtime.onnx_file.structure import MOST_BYTES
from tests.support.processes import run_cli
from tests.support.tiny_onnx import SIDE, TinyModel, message, node, number, tensor, weights

SPECIAL = (np.nan, np.inf, -np.inf)


def _refused(path: Path, what: str) -> ModelInvalidError:
    with pytest.raises(ModelInvalidError, match=what) as caught:
        PortableEngine(path)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def _code(path: Path) -> Any:
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return PortableEngine(path).hash(image).tolist()


# -- the id covers the weights, wherever they are ------------------------------------------------


def test_the_id_of_a_model_in_one_file_is_its_digest(tmp_path: Path) -> None:
    path = TinyModel().write(tmp_path / "m.onnx")
    expected = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    assert identify(path) == check_model(path) == expected
    other = tmp_path / "no model"
    other.write_bytes(b"anything")
    assert identify(other) == (hashlib.sha256(b"anything").hexdigest(), 8)


@pytest.mark.parametrize("offset", [0, 4096])
def test_weights_in_another_file_belong_to_the_id(tmp_path: Path, offset: int) -> None:
    first = TinyModel(location="w.data", offset=offset).write(tmp_path / "a" / "m.onnx")
    same = TinyModel(location="other.bin").write(tmp_path / "b" / "m.onnx")
    negated = TinyModel(-weights(), location="w.data", offset=offset)
    second = negated.write(tmp_path / "c" / "m.onnx")
    assert first.read_bytes() == second.read_bytes()
    assert identify(first) == identify(same) != identify(second)
    assert PortableEngine(first).model.id == identify(first)[0]
    assert identify(first)[1] > weights().nbytes
    whole = tmp_path / "whole.onnx"
    copy_whole_model(first, whole)
    assert identify(whole) == identify(first)
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == identify(first)[0]
    assert _code(whole) == _code(first) == _code(TinyModel().write(tmp_path / "one.onnx"))
    assert _code(second) != _code(first)


def test_weights_of_constants_and_inner_graphs_belong_to_the_id(tmp_path: Path) -> None:
    def hidden(kind: str) -> bytes:
        place = message(13, message(1, "location") + message(2, "w.bin"))
        inner = tensor("inner", (4,), None) + place + number(14, 1)
        if kind == "constant":
            return node("Constant", [], "c", message(5, message(1, "value") + message(5, inner)))
        graph = message(5, inner) if kind == "graph" else message(15, message(1, inner))
        return node("If", ["c"], "d", message(5, message(1, "body") + message(6, graph)))

    (tmp_path / "w.bin").write_bytes(bytes(16))
    for kind in ("constant", "graph", "sparse"):
        path = TinyModel(extra_nodes=[hidden(kind)]).write(tmp_path / f"{kind}.onnx")
        before = identify(path)
        (tmp_path / "w.bin").write_bytes(bytes(12) + b"\1\0\0\0")
        assert identify(path) != before, kind
        (tmp_path / "w.bin").write_bytes(np.full(4, np.nan, np.float32).tobytes())
        _refused(path, '"inner" are not all finite')
        (tmp_path / "w.bin").write_bytes(bytes(16))


def test_a_gallery_of_other_weights_is_refused(tmp_path: Path) -> None:
    models = [
        TinyModel(sign * weights(), location="w.bin").write(tmp_path / name / "m.onnx")
        for name, sign in (("a", 1), ("b", -1))
    ]
    gallery = tmp_path / "g.sqlite"
    write_enrollment_photos(tmp_path / "photos")
    photo = next((tmp_path / "photos").rglob("*.jpg"))
    done = run_cli("enroll", "--gallery", gallery, "--model", models[0], "--label", "a", photo)
    assert done.returncode == 0, done.stderr
    assert run_cli("query", "--gallery", gallery, "--model", models[0], photo).returncode == 0
    done = run_cli("query", "--gallery", gallery, "--model", models[1], photo)
    assert done.returncode == 5, done.stderr


@pytest.mark.parametrize(
    ("location", "content", "what"),
    [
        ("w.bin", None, r"weights are in a second file: w\.bin: is missing"),
        ("w.bin", b"short", r"weights file w\.bin has 5 bytes, but \"weight\" ends at byte"),
        ("w.bin", b"version https://git-lfs.github.com/spec/v1\n", "w.bin is a Git LFS pointer"),
        ("../w.bin", None, "in a file outside its folder"),
        ("/etc/passwd", None, "in a file outside its folder"),
        ("", None, "in a file outside its folder"),
    ],
)
def test_weights_that_are_missing(
    tmp_path: Path, location: str, content: bytes | None, what: str
) -> None:
    model = TinyModel(location="w.bin", entries={"location": location})
    path = model.write(tmp_path / "models" / "m.onnx")
    (path.parent / "w.bin").unlink()
    if content is not None:
        (path.parent / "w.bin").write_bytes(content)
    _refused(path, what)
    with pytest.raises(ModelError, match=what):
        identify(path)


def test_weights_that_are_a_fifo_or_have_no_place(tmp_path: Path) -> None:
    path = TinyModel(location="w.bin").write(tmp_path / "m.onnx")
    (tmp_path / "w.bin").unlink()
    os.mkfifo(tmp_path / "w.bin")
    _refused(path, "this is a FIFO")
    for entries in ({"offset": "-4"}, {"length": str(2**63)}, {"offset": "x"}, {"length": "-1"}):
        model = TinyModel(location="v.bin", entries=entries)
        _refused(model.write(tmp_path / "n.onnx"), "weight")


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("location", ["", "w.bin"])
def test_weights_that_are_not_finite(tmp_path: Path, value: float, location: str) -> None:
    weight = weights()
    weight[7, 3] = value
    path = TinyModel(weight, location=location).write(tmp_path / "m.onnx")
    _refused(path, 'the weights "weight" are not all finite numbers')


@pytest.mark.parametrize(
    ("data_type", "dtype"), [(1, "<f4"), (10, "<f2"), (11, "<f8"), (16, "bfloat16")]
)
def test_every_float_type_is_checked(tmp_path: Path, data_type: int, dtype: str) -> None:
    for value in (1.0, *SPECIAL):
        if dtype == "bfloat16":
            raw = (np.array([0, value], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = np.array([0, value], dtype).tobytes()
        extra = [tensor("more", (2,), raw, data_type)]
        path = TinyModel(extra_tensors=extra).write(tmp_path / "m.onnx")
        if value == 1.0:
            check_model(path)
        else:
            _refused(path, '"more" are not all finite')


def test_large_weights_are_no_fault(tmp_path: Path) -> None:
    weight = np.full((3 * SIDE * SIDE, 16), 3e38, np.float32)
    check_model(TinyModel(weight).write(tmp_path / "m.onnx"))  # their sum overflows


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear"])
def test_quantization_scales_that_are_not_above_0(
    tmp_path: Path, operator: str, scale: float
) -> None:
    extra = [tensor("s", (), np.float32(scale).tobytes())]
    nodes = [node(operator, ["hash", "s"], "q")]
    path = TinyModel(extra_nodes=nodes, extra_tensors=extra).write(tmp_path / "m.onnx")
    _refused(path, '"s" (is not above 0|are not all finite)')


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("edge.threshold", "nan", "the threshold must be a finite number, got nan"),
        ("edge.threshold", "-inf", "the threshold must be a finite number"),
        ("edge.threshold", "1e400", "the threshold must be a finite number"),
        ("edge.input", '"scale": 0', "the input scale is 0"),
        ("edge.input", '"scale": -0.0', "the input scale is 0"),
        ("edge.input", '"scale": NaN', "the input scale must be a finite number"),
        ("edge.input", '"offset": 1e400', "the input offset must be a finite number"),
        ("edge.input", '"size": 1e400', "malformed"),
        ("edge.input", '"more": ' + "[" * 100_000, "malformed"),
        ("edge.bits", "9" * 5000, "malformed"),
        ("edge.radius", "nan", "malformed"),
    ],
)
def test_metadata_without_meaning(tmp_path: Path, key: str, value: str, what: str) -> None:
    if key == "edge.input":
        picture = TinyModel()._metadata()["edge.input"]
        value = picture[:-1] + f", {value}" + "}"
    path = TinyModel(metadata={key: value}).write(tmp_path / "m.onnx")
    assert len(str(_refused(path, what))) < 1000


def test_a_network_that_computes_no_numbers(tmp_path: Path) -> None:
    engine = PortableEngine(TinyModel(operator="Sqrt").write(tmp_path / "m.onnx"))
    with pytest.raises(EngineError, match="infinite values or no numbers"):
        engine.hash(np.full((SIDE, SIDE, 3), 255, np.uint8))


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s1--0.onnx\n", "a git-annex pointer"),
        (b"\n<!DOCTYPE html>\n<html>", "a web page"),
        (b"\xef\xbb\xbf<html><head>", "a web page"),
        (b'<?xml version="1.0"?><Error/>', "a web page"),
        (b"404: Not Found", 'a text that begins with "404: Not Found"'),
        (b'{"error": "unauthorized"}', "a text that begins with"),
        (b"\x1b[2Jhello", r"corrupt|a text that begins with .\?\[2J"),
        (b"PK\x03\x04" + bytes(100), "a zip archive or a PyTorch file"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (b"\x1c\0\0\0ORTM", "ONNX Runtime's own format"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xff\xd8\xff\xe0", "a JPEG photo"),
        (bytes(5000), "a file of zeros"),
        (b"\x08\x09", "it contains no graph"),
        (b"\x08" + b"\xff" * 100, "corrupt"),
        (b"\x3a\xff\xff\xff\xff\x0f", "incomplete: .* bytes are missing"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    fault = _refused(path, what)
    assert str(fault).isprintable()


def test_a_truncated_model_says_how_much_is_missing(tmp_path: Path) -> None:
    path = TinyModel(metadata={}).write(tmp_path / "m.onnx")
    data = path.read_bytes()
    for length in (len(data) - 1, len(data) // 2, 100):
        path.write_bytes(data[:length])
        _refused(path, "incomplete")


def test_a_model_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    _refused(path, "too large for an ONNX model")
    whole = TinyModel(location="w.bin", entries={"length": str(MOST_BYTES)})
    path = whole.write(tmp_path / "n.onnx")
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(MOST_BYTES)
    _refused(path, "larger than 2 GiB with its weights")


def test_a_newer_ir_version_and_opset_are_named(tmp_path: Path) -> None:
    path = TinyModel(ir_version=99).write(tmp_path / "m.onnx")
    assert "update onnxruntime" in _refused(path, "IR version 99 is too new: ONNX Runtime").remedy
    path = TinyModel(opset=99).write(tmp_path / "m.onnx")
    assert "update onnxruntime" in _refused(path, "opset 99 is too new: ONNX Runtime").remedy
    path = TinyModel(operator="Nonsense").write(tmp_path / "m.onnx")
    fault = _refused(path, "No Op registered for Nonsense")
    assert "copy" not in fault.remedy and "corrupt" not in fault.what


def test_other_reasons_of_onnx_runtime(tmp_path: Path) -> None:
    path = TinyModel(extra_nodes=[node("Add", ["hash", "lost"], "end")]).write(tmp_path / "m.onnx")
    fault = _refused(path, "ONNX Runtime .* cannot run it: .*'lost' is not a graph input")
    assert str(path) not in fault.what
    assert isinstance(refusal(Exception("std::bad_alloc"), path, "1"), ResourceError)
    assert isinstance(refusal(MemoryError(), path, "1"), ResourceError)
    assert len(str(refusal(Exception("x" * 10_000), path, "1"))) < 600


def test_a_name_that_is_not_utf8_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = TinyModel().write(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"Sigmoid", b"S\xe9gmoid"))
    _refused(path, "a name in it is not UTF-8")
    assert capfd.readouterr() == ("", "")  # ONNX Runtime printed a banner to standard output


def test_a_missing_model_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        PortableEngine(tmp_path / "none.onnx")
    with pytest.raises(ModelNotFoundError, match="a folder"):
        identify(tmp_path)


SEED = TinyModel().encoded(weights().tobytes())
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(-50, 255)), min_size=1, max_size=4
)


@settings(max_examples=150)
@given(edits=EDITS)
def test_any_bytes_are_read_or_refused(edits: list[tuple[float, int]]) -> None:
    content = bytearray(SEED)
    for place, value in edits:  # a negative value removes bytes
        at = int(place * len(content))
        content[at : at + max(1, -value)] = bytes([value]) if value >= 0 else b""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        try:
            assert re.fullmatch("[0-9a-f]{64}", check_model(file.name)[0])
        except ModelInvalidError as error:
            assert str(error).isprintable()
