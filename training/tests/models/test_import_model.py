"""Models that this project did not make: adopted, their codes are those of their own convention."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod

from edge_runtime.code import binarize, pack
from edge_runtime.engine import open_engine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image.decode import read_photo
from edge_runtime.image.preprocess import preprocess
from training.commands import evaluate, import_model
from training.data.photo_sets import read_set
from training.data.pixel_cache import open_cache
from training.eval.retrieval import Hasher
from training.onnx import quantize_qdq
from training.tests.conftest import ROOT, draw_photos

SIZE, BITS = 48, 24
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION = ["--scale", "1/255", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
SHIPPED = ROOT / "models" / "mobilenet_v1_hash64.onnx"


class _Theirs(torch.nn.Module):
    """Takes RGB or BGR in either layout, gives tanh activations [N, K] or [N, K, 1, 1]."""

    def __init__(self, nhwc: bool = False, flat: bool = True):
        super().__init__()
        torch.manual_seed(4)
        self.nhwc, self.flat = nhwc, flat
        self.first = torch.nn.Conv2d(3, 16, 5, stride=3)
        self.last = torch.nn.Conv2d(16, BITS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2) if self.nhwc else x
        x = torch.relu(self.first(x)).mean((2, 3), keepdim=True)
        x = torch.tanh(40 * (self.last(x) - 0.02))
        return x.flatten(1) if self.flat else x


def _export(path: Path, *, nhwc: bool = False, flat: bool = True, free: bool = True) -> Path:
    shape = (1, SIZE, SIZE, 3) if nhwc else (1, 3, SIZE, SIZE)
    sides = {1: "h", 2: "w"} if nhwc else {2: "h", 3: "w"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the old one
        torch.onnx.export(
            _Theirs(nhwc, flat).eval(), (torch.zeros(shape),), str(path), dynamo=False,
            input_names=["pixels"], output_names=["code"],
            dynamic_axes={"pixels": {0: "n", **sides}, "code": {0: "n"}} if free else None,
        )  # fmt: skip
    return path


def _directly(path: Path, image: NDArray[Any]) -> NDArray[np.bool_]:
    """The bits of one picture, float32 in the foreign convention."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["code"], {"pixels": image[None]})
    return np.asarray(found > 0).reshape(-1)


def _squares(folder: Path) -> list[NDArray[np.uint8]]:
    draw_photos(folder)
    return [preprocess(read_photo(each.path), SIZE) for each in read_set(folder)]


def _adopt(*options: str) -> Result:
    return CliRunner().invoke(
        import_model.main, ["--model", "theirs.onnx", "--out", "ours.onnx", *options]
    )


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_codes_are_those_of_the_foreign_convention(
    tmp_path: Path, nhwc: bool, bgr: bool, flat: bool
) -> None:
    theirs = _export(tmp_path / "theirs.onnx", nhwc=nhwc, flat=flat)
    said = ["--size", str(SIZE), *TORCHVISION, *(["--color", "bgr"] if bgr else [])]
    done = _adopt(*said)
    assert done.exit_code == 0, done.output
    engine = open_engine(tmp_path / "ours.onnx")
    assert (engine.model.bits, engine.model.threshold, engine.model.radius) == (BITS, 0, 5)
    codes = []
    for square in _squares(tmp_path / "set"):
        image = square.astype(np.float32) if bgr else square[..., ::-1].astype(np.float32)
        mean, std = (np.array(each, np.float32) for each in (MEAN, STD))
        image = (image * np.float32(1 / 255) - mean) / std
        bits = _directly(theirs, image if nhwc else image.transpose(2, 0, 1))
        code = engine.hash(square)
        np.testing.assert_array_equal(code, pack(bits))
        codes.append(int(code[0]))
    assert len(set(codes)) > 3  # the codes tell something


def test_what_all_channels_share_needs_no_node(tmp_path: Path) -> None:
    theirs = _export(tmp_path / "theirs.onnx", free=False)
    done = _adopt("--scale", "1/255", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    assert done.exit_code == 0, done.output
    assert len(onnx.load("ours.onnx").graph.node) == len(onnx.load(theirs).graph.node)
    engine = PortableEngine(tmp_path / "ours.onnx")
    assert engine.model.input.scale == pytest.approx(1 / 127.5)
    for square in _squares(tmp_path / "set"):
        image = np.empty((3, SIZE, SIZE), np.float32)
        for plane in range(3):
            image[plane] = square[..., 2 - plane] * np.float32(1 / 127.5) - np.float32(1)
        code = pack(binarize(_directly(theirs, image), 0.5))
        np.testing.assert_array_equal(engine.hash(square), code)


def test_adopted_copy_is_a_model_like_any_other(tmp_path: Path) -> None:
    _export(tmp_path / "theirs.onnx")
    assert _adopt("--size", str(SIZE), *TORCHVISION, "--name", "guest").exit_code == 0
    first = (tmp_path / "ours.onnx").read_bytes()
    assert _adopt("--size", str(SIZE), *TORCHVISION, "--name", "guest").exit_code == 0
    assert (tmp_path / "ours.onnx").read_bytes() == first
    draw_photos(tmp_path / "set")
    cache = open_cache(read_set(tmp_path / "set"))
    small = tmp_path / "small.onnx"
    quantize_qdq.quantize(tmp_path / "ours.onnx", cache, small, CalibrationMethod.MinMax)
    assert Hasher(small).info.name == "guest_int8"


def _evaluate(*options: str) -> Result:
    shown = ["--model", "theirs.onnx", "--data", "set", "--out", "out.json", *options]
    return CliRunner().invoke(evaluate.main, shown)


def test_foreign_model_is_judged_as_its_adopted_copy(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    _export(tmp_path / "theirs.onnx", nhwc=True)
    said = ["--size", str(SIZE), *TORCHVISION]
    done = _evaluate(*said)
    assert done.exit_code == 0, done.output
    line = next(line for line in done.output.splitlines() if line.startswith("theirs: "))
    assert "nhwc" in line and "output code" in line and "assumed: color=rgb, radius=5" in line
    result = json.loads((tmp_path / "out.json").read_text())
    found = result["description"]
    assert found["adopted"]["mean"] == list(MEAN) and found["threshold"] == 0
    assert found["adopted"]["original"] != result["id"] and result["model"] == "theirs"
    assert _adopt(*said).exit_code == 0
    (tmp_path / "theirs.onnx").write_bytes((tmp_path / "ours.onnx").read_bytes())
    assert _evaluate().exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text()) == result
    done = _evaluate("--size", "48", "--radius", "3")
    assert done.exit_code == 3 and "leave out --size --radius" in done.output


def _one_line(done: Result, code: int, message: str) -> None:
    assert done.exit_code == code, done.output
    assert done.output.count("\n") == 1 and done.output.startswith("error: "), done.output
    assert message in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "and --size and --scale are missing"),
        (["--size", "48"], "and --scale is missing"),
        (["--scale", "1"], "and --size is missing"),
    ],
)
def test_evaluation_says_what_of_a_description_is_missing(
    tmp_path: Path, options: list[str], message: str
) -> None:
    draw_photos(tmp_path / "set")
    _export(tmp_path / "theirs.onnx")
    _one_line(_evaluate(*options), 4, message)
    _one_line(_adopt(*options), 4, message)
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "64"], "--size: theirs.onnx takes [1, 3, 48, 48], not 64 pixels"),
        (["--layout", "nhwc"], "--layout: theirs.onnx takes [1, 3, 48, 48], not nhwc"),
        (["--output", "codes"], "--output: theirs.onnx has no output codes (it has code)"),
        (["--radius", "25"], "--radius: 25 is more than the 24 bits"),
        (["--out", "theirs.onnx"], "--out: output and model are the same file"),
    ],
)
def test_what_contradicts_the_file_is_one_line(
    tmp_path: Path, options: list[str], message: str
) -> None:
    before = _export(tmp_path / "theirs.onnx", free=False).read_bytes()
    _one_line(_adopt("--scale", "1", *options), 3, message)
    assert (tmp_path / "theirs.onnx").read_bytes() == before


@pytest.mark.parametrize(
    "options",
    ["--scale 0", "--scale 1/0", "--scale one", "--scale nan", "--mean 1,2", "--std 1,0,1",
     "--threshold inf", "--size 0", "--radius -1", "--layout chw", "--color gray"],
)  # fmt: skip
def test_options_that_mean_nothing_are_wrong_usage(options: str) -> None:
    done = _adopt(*options.split())
    assert done.exit_code == 2 and "Traceback" not in done.output


def _made(
    inputs: dict[str, list[int | str]],
    shape: list[int],
    kind: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("code",),
) -> bytes:
    """A graph whose outputs are constants of `shape`, whatever comes in."""
    nodes = [
        helper.make_node("Constant", [], [name],
                         value=numpy_helper.from_array(np.ones(shape, np.float32)))
        for name in outputs
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, kind, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    assert isinstance(made, bytes)
    return made


PHOTO: dict[str, list[int | str]] = {"pixels": [1, 3, 32, 32]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an ONNX model"),
        (b"no model", "not an ONNX model"),
        (_made({**PHOTO, "text": [1, 7]}, [1, 8]), "it has 2 inputs (pixels, text)"),
        (_made({"ids": [1, 77]}, [1, 8]), "its input ids is [1, 77] of float, not a photo"),
        (_made({"gray": [1, 1, 32, 32]}, [1, 8]), "not a photo of three channels"),
        (_made(PHOTO, [1, 8], TensorProto.INT64), "[1, 3, 32, 32] of int64, not a photo"),
        (_made({"pixels": [8, 3, 32, 32]}, [1, 8]), "it takes 8 photos at once"),
        (_made({"pixels": ["n", 3, 32, 48]}, [1, 8]), "[?, 3, 32, 48] is not square"),
        (_made({"pixels": ["n", "c", "h", "w"]}, [1, 8]), "--size and --layout are missing"),
        (_made(PHOTO, [1, 8, 7, 7]), "its output is [1, 8, 7, 7] for one photo, not a vector"),
        (_made(PHOTO, [1, 5000]), "5000 bits"),
        (_made(PHOTO, [1, 8], outputs=("code", "classes")), "2 outputs (code, classes)"),
    ],
)
def test_model_that_cannot_be_adopted_is_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "theirs.onnx").write_bytes(content)
    _one_line(_adopt("--scale", "1", "--threshold", "0"), 4, message)
    assert not (tmp_path / "ours.onnx").exists()


def test_model_that_describes_itself_or_is_not_there_is_one_line(tmp_path: Path) -> None:
    _one_line(_adopt("--model", str(SHIPPED)), 4, "the model already describes itself")
    _one_line(_adopt("--model", "absent.onnx"), 4, "absent.onnx")


def test_threshold_is_only_known_after_an_operator_with_a_middle(tmp_path: Path) -> None:
    (tmp_path / "theirs.onnx").write_bytes(_made(PHOTO, [1, 8]))
    _one_line(_adopt("--scale", "1"), 4, "no edge.* metadata, and --threshold is missing")


def test_uint8_and_other_types_are_cast(tmp_path: Path) -> None:
    """uint8 pixels in, a shape of [K] out, as other frameworks export them."""
    weight = np.random.default_rng(1).integers(-9, 9, (3, BITS)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[0, 1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["sums"]),
        helper.make_node("Greater", ["sums", "zero"], ["code"]),
    ]
    graph = helper.make_graph(
        nodes, "made",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("code", TensorProto.BOOL, [BITS])],
        [numpy_helper.from_array(weight, "weight"),
         numpy_helper.from_array(np.zeros((), np.float32), "zero")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), "theirs.onnx")
    _one_line(_adopt("--scale", "1/255", "--threshold", "0.5"), 3, "uint8")
    assert _adopt("--scale", "1", "--threshold", "0.5").exit_code == 0
    engine = PortableEngine(tmp_path / "ours.onnx")
    for square in _squares(tmp_path / "set"):
        bits = square[..., ::-1].astype(np.float32).mean((0, 1)) @ weight > 0
        assert (engine.hash(square) != pack(bits)).sum() == 0
