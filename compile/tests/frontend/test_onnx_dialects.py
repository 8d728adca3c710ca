"""Networks as other tools write them: the same numbers in different nodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compile.frontend.onnx_importer import read_network
from compile.quantization.calibrate import quantize
from compile.target.description import Target
from compile.tests.helpers import codes, difference, save_sample
from compile.tuning.untuned import build_untuned
from compile.verify.images import load_views
from edge_runtime.bundle import MODEL
from edge_runtime.code import unpack
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import ModelInvalidError, NetworkUnsupportedError
from edge_runtime.model import InputSpec

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's red, green and blue, from 0 to 1, as networks from PyTorch expect them."""


class Edit:
    """Rewrites a model's graph."""

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, onnx.load(path)
        self.graph, self.count = self.model.graph, 0

    def constant(self, value: object) -> str:
        self.count += 1
        array = np.asarray(value, None if np.asarray(value).dtype == np.int64 else np.float32)
        self.graph.initializer.append(numpy_helper.from_array(array, f"e{self.count}"))
        return f"e{self.count}"

    def array(self, name: str) -> np.ndarray:
        found = next(each for each in self.graph.initializer if each.name == name)
        return np.asarray(numpy_helper.to_array(found)).copy()

    def metadata(self, key: str, value: str) -> None:
        next(each for each in self.model.metadata_props if each.key == key).value = value

    def replace(self, kind: str, make: Callable[[onnx.NodeProto], list[onnx.NodeProto]]) -> None:
        nodes = list(self.graph.node)
        del self.graph.node[:]
        for node in nodes:
            self.graph.node.extend(make(node) if node.op_type == kind else [node])

    def before(self, chain: list[tuple[str, list[str], dict[str, object]]]) -> None:
        """Insert nodes (operator, further inputs, attributes) after the picture."""
        self.graph.node[0].input[0] = "new"
        name, nodes = "image", []
        for number, (kind, more, attributes) in enumerate(chain):
            out = "new" if number == len(chain) - 1 else f"picture{number}"
            nodes.append(helper.make_node(kind, [name, *more], [out], out, **attributes))
            name = out
        nodes += self.graph.node
        del self.graph.node[:]
        self.graph.node.extend(nodes)

    def save(self) -> Path:
        onnx.checker.check_model(self.model, full_check=True)
        onnx.save(self.model, self.path)
        return self.path


def colors(edit: Edit) -> None:
    """A mean and a deviation per color, blue first, on transposed axes."""
    spec = InputSpec(size=96, scale=1 / 255, offset=0.0)
    edit.metadata("edge.input", json.dumps(asdict(spec)))
    mean, deviation = edit.constant(MEAN[::-1]), edit.constant(DEVIATION[::-1])
    blue_first = edit.constant(np.array([2, 1, 0], np.int64))
    edit.before(
        [
            ("Transpose", [], {"perm": [0, 2, 3, 1]}),
            ("Gather", [blue_first], {"axis": 3}),
            ("Sub", [mean], {}),
            ("Div", [deviation], {}),
            ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ]
    )


def pads(edit: Edit) -> None:
    """Borders as separate nodes."""

    def apart(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        border = next(each for each in node.attribute if each.name == "pads")
        top, left, bottom, right = border.ints
        node.attribute.remove(border)
        sizes = edit.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        pad = helper.make_node("Pad", [node.input[0], sizes], [node.name + "p"], node.name + "p")
        node.input[0] = pad.output[0]
        return [pad, node]

    edit.replace("Conv", apart)


def scales(edit: Edit) -> None:
    """Biases and scales as separate sums and products."""

    def apart(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        weight, bias, out = edit.array(node.input[1]), edit.array(node.input[2]), node.output[0]
        node.input[1] = edit.constant(weight / 2)
        del node.input[2]
        node.output[0] = out + "c"
        shape = (1, -1, 1, 1)
        half, twice = edit.constant(bias.reshape(shape) / 2), edit.constant(2.0)
        return [
            node,
            helper.make_node("Add", [half, out + "c"], [out + "s"], out + "s"),
            helper.make_node("Mul", [out + "s", twice], [out], out + "m"),
        ]

    edit.replace("Conv", apart)


def averages(edit: Edit) -> None:
    """An average over a window as large as the map, and a convolution and norm as hash layer."""

    def pool(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [
            helper.make_node(
                "AveragePool", list(node.input), list(node.output), kernel_shape=[3, 3]
            )
        ]

    def dense(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        weight, bias = (edit.array(name) for name in node.input[1:])
        kernel = edit.constant(weight[:, :, None, None])
        rows = [edit.constant(np.full(len(bias), value)) for value in (2.0, 0.25, 0.5, 4.0)]
        return [
            helper.make_node(
                "Conv", ["pooled", kernel, edit.constant(bias + 0.25)], ["sums4"], "sums4"
            ),
            helper.make_node("BatchNormalization", ["sums4", *rows], ["norm4"], "norm4"),
            helper.make_node("Flatten", ["norm4"], list(node.output)),
        ]

    def flat(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [helper.make_node("Identity", list(node.input), ["pooled"]), node]

    for kind, make in (("GlobalAveragePool", pool), ("Flatten", flat), ("Gemm", dense)):
        edit.replace(kind, make)


def tanh(edit: Edit) -> None:
    """Activations from -1 to 1."""
    edit.replace("Sigmoid", lambda node: [helper.make_node("Tanh", list(node.input), ["hash"])])
    edit.metadata("edge.threshold", "0.25")


def bare(edit: Edit) -> None:
    """The sums without an activation."""
    edit.replace("Sigmoid", lambda node: [])
    edit.replace(
        "Gemm", lambda node: [helper.make_node("Gemm", list(node.input), ["hash"], transB=1)]
    )
    edit.metadata("edge.threshold", "-0.5")


Style = Callable[[Edit], None]
TOGETHER: list[Style] = [scales, pads, averages, tanh, colors]


def styled(path: Path, *styles: Style) -> Path:
    edit = Edit(save_sample(path))
    for style in styles:
        style(edit)
    return edit.save()


@pytest.mark.parametrize("style", [pads, scales, averages])
def test_styles_of_one_network_give_the_same_layers(style: Style, tmp_path: Path) -> None:
    plain = read_network(save_sample(tmp_path / "a.onnx"))
    other = read_network(styled(tmp_path / "m.onnx", style))
    for one, two in zip(plain.layers, other.layers, strict=True):
        assert np.array_equal(one.weight, two.weight)
        assert np.array_equal(one.bias, two.bias)
        assert (one.pads, one.limit, one.source) == (two.pads, two.limit, two.source)
    assert np.allclose(plain.hash_weight, other.hash_weight, rtol=1e-4)
    assert np.allclose(plain.hash_bias, other.hash_bias, atol=1e-4)


def sigmoid(sums: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-sums)))


@pytest.mark.parametrize(
    ("styles", "activation"),
    [([colors], sigmoid), ([tanh], np.tanh), ([bare], np.positive), (TOGETHER, np.tanh)],
)
def test_styles_of_one_network_give_the_same_codes(
    styles: list[Style],
    activation: Callable[[np.ndarray], np.ndarray],
    host: Target,
    tmp_path: Path,
) -> None:
    path = styled(tmp_path / MODEL, *styles)
    build_untuned(read_network(path), host, "fp32", tmp_path)
    theirs, ours = PortableEngine(path), CompiledEngine(tmp_path)
    for picture in load_views(None, 96, 20):
        wanted = theirs.activations(picture)
        assert np.allclose(activation(ours.logits(picture)), wanted, atol=1e-3)
        sure = np.abs(wanted - theirs.model.threshold) > 1e-3
        same = unpack(ours.hash(picture), 64) == unpack(theirs.hash(picture), 64)
        assert same[sure].all()


def test_int8_codes_of_another_style_are_close_to_fp32(host: Target, tmp_path: Path) -> None:
    model = styled(tmp_path / "m.onnx", *TOGETHER)
    target = host.at("int8")
    network = quantize(read_network(model), load_views(None, 96, 12, seed=4), target.vector)
    views = load_views(None, 96, 60)
    assert difference(model, codes(network, target, tmp_path / "work", views), views) < 0.05


def shifted_border(edit: Edit) -> None:
    edges = edit.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))
    shift = edit.constant(np.reshape(MEAN, (3, 1, 1)))
    edit.before([("Pad", [edges], {}), ("Add", [shift], {})])


def gray_border(edit: Edit) -> None:
    edges = edit.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))
    edit.before([("Pad", [edges, edit.constant(0.5)], {})])


def each_pixel(edit: Edit) -> None:
    edit.before([("Mul", [edit.constant(np.ones((1, 1, 1, 96)))], {})])


def each_column_of_each_color(edit: Edit) -> None:
    edit.before(
        [
            ("Transpose", [], {"perm": [0, 3, 1, 2]}),
            ("Transpose", [], {"perm": [0, 2, 3, 1]}),
            ("Mul", [edit.constant(np.ones((3, 1, 96)))], {}),
        ]
    )


def no_color(edit: Edit) -> None:
    edit.before([("Mul", [edit.constant(np.reshape((1.0, 0.0, 1.0), (3, 1, 1)))], {})])


def two_colors(edit: Edit) -> None:
    edit.before([("Gather", [edit.constant(np.array([0, 1, 1], np.int64))], {"axis": 1})])


def rows_from_below(edit: Edit) -> None:
    rows = edit.constant(np.arange(96, dtype=np.int64)[::-1])
    edit.before([("Gather", [rows], {"axis": 2})])


def transposed(edit: Edit) -> None:
    edit.before([("Transpose", [], {"perm": [0, 1, 3, 2]})])


def small_window(edit: Edit) -> None:
    averages(edit)
    edit.replace(
        "AveragePool",
        lambda node: [
            helper.make_node("AveragePool", node.input, ["corner"], "corner", kernel_shape=[2, 2]),
            helper.make_node("GlobalAveragePool", ["corner"], node.output),
        ],
    )


def sums_after_the_hash(edit: Edit) -> None:
    tanh(edit)
    node = edit.graph.node[-1]
    node.output[0] = "early"
    more = helper.make_node("Add", ["early", edit.constant(1.0)], ["hash"], "late")
    edit.graph.node.append(more)


@pytest.mark.parametrize(
    ("style", "named"),
    [
        (shifted_border, 'Add "new": it shifts a border'),
        (gray_border, 'Pad "new": it must add a border of zeros'),
        (
            each_pixel,
            'Mul "new": its constant must be one number or one for each of 3 channels',
        ),
        (
            each_column_of_each_color,
            'Mul "new": its constant must be one number or one for each of 3 channels',
        ),
        (no_color, 'Conv "n0": one convolution must read the picture, with all its colors'),
        (two_colors, 'Conv "n0": one convolution must read the picture, with all its colors'),
        (rows_from_below, 'Gather "new": it must select color channels'),
        (transposed, 'Conv "n0": the compiler does not support it here'),
        (small_window, 'AveragePool "corner": the compiler does not support it here'),
        (sums_after_the_hash, 'Add "late": the compiler does not support it here'),
    ],
)
def test_a_style_that_would_change_the_codes_is_rejected(
    style: Style, named: str, tmp_path: Path
) -> None:
    with pytest.raises(NetworkUnsupportedError) as caught:
        read_network(styled(tmp_path / "m.onnx", style))
    assert named in str(caught.value)


def test_a_norm_after_a_residual_sum_is_not_folded_into_one_summand(tmp_path: Path) -> None:
    edit = Edit(save_sample(tmp_path / "m.onnx", "v2"))
    sums = next(node for node in edit.graph.node if node.op_type == "Add")
    double = edit.constant(2.0)
    old = sums.output[0]
    for node in edit.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = "doubled"
    at = list(edit.graph.node).index(sums) + 1
    edit.graph.node.insert(at, helper.make_node("Mul", [old, double], ["doubled"], "late"))
    with pytest.raises(NetworkUnsupportedError, match='Mul "late"'):
        read_network(edit.save())


@pytest.mark.parametrize("threshold", ["0.0", "1.0", "-0.5"])
def test_a_threshold_beyond_the_activation_is_rejected(threshold: str, tmp_path: Path) -> None:
    path = styled(tmp_path / "m.onnx", lambda edit: edit.metadata("edge.threshold", threshold))
    with pytest.raises(ModelInvalidError, match="must lie between 0 and 1 for a Sigmoid"):
        read_network(path)
