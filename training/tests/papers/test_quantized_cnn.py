"""The Quantized CNN: codebooks, error correction, look-up tables in numpy and in C."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_runtime.errors import InputError, ModelInvalidError, ToolchainError
from training.onnx.model_file import session
from training.papers.compressed.qcnn.codebooks import (
    Setting,
    fit_codebooks,
    is_worth_coding,
    k_means,
    reconstruct,
    sub_vectors,
    table_operations,
    to_weight,
)
from training.papers.compressed.qcnn.correction import (
    choose_places,
    correct,
    products_of,
    response_error,
    sample_columns,
)
from training.papers.compressed.qcnn.fitting import coded_share, quantize, quantize_corrected
from training.papers.compressed.qcnn.layers import (
    DENSE,
    DEPTHWISE,
    FLATTEN,
    MAX_POOL,
    MEAN_POOL,
    Floats,
    Layer,
    Network,
    activate,
    respond,
    run,
)
from training.papers.compressed.qcnn.lookup import respond_by_tables
from training.papers.compressed.qcnn.onnx_copy import to_int8, to_onnx
from training.papers.compressed.qcnn.onnx_reader import read_network
from training.papers.compressed.qcnn.program import build, measure, pack_indices, to_program

SHAPES = (
    # inputs, outputs, in_size, window, stride, pad, groups, sub
    (8, 16, 9, 1, 1, 0, 1, 4),
    (16, 40, 7, 1, 1, 0, 1, 8),
    (32, 20, 5, 1, 1, 0, 1, 16),
    (20, 12, 6, 1, 1, 0, 1, 4),
    (12, 10, 8, 3, 1, 1, 1, 6),
    (16, 12, 9, 3, 2, 1, 2, 4),
    (8, 6, 13, 5, 1, 2, 2, 4),
    (4, 9, 23, 7, 4, 0, 1, 4),
    (24, 12, 1, 1, 1, 0, 1, 4),
    (300, 7, 1, 1, 1, 0, 1, 4),
)


def make_layer(
    shape: tuple[int, ...], rng: np.random.Generator, whole: bool = False, activation: str = ""
) -> Layer:
    """A layer with random weights; `whole` numbers have the same sums in any order."""
    inputs, outputs, size, window, stride, pad, groups, _ = shape
    made = (size + 2 * pad - window) // stride + 1

    def draw(*sizes: int) -> Floats:
        values = rng.integers(-3, 4, sizes) if whole else rng.standard_normal(sizes)
        return values.astype(np.float32)

    return Layer(
        DENSE, inputs, outputs, size, made, window, stride, pad, groups, activation,
        draw(outputs, inputs // groups, window, window), draw(outputs), "weight",
    )  # fmt: skip


def draw_maps(layer: Layer, rng: np.random.Generator, count: int = 3) -> Floats:
    shape = (count, layer.inputs, layer.in_size, layer.in_size)
    return rng.integers(-4, 5, shape).astype(np.float32)


def make_network(rng: np.random.Generator, groups: int = 1) -> Network:
    """A small network with every kind of layer, whole numbers as weights."""
    shapes = [(3, 8, 21, 3, 2, 0, 1, 0), (8, 8, 10, 3, 1, 1, 8, 0), (8, 24, 10, 1, 1, 0, 1, 4)]
    first, middle, point = (make_layer(each, rng, True, "relu6") for each in shapes)
    window = make_layer((24, 16, 4, 3, 1, 1, groups, 4), rng, True, "relu")
    return Network(
        (
            first,
            replace(middle, kind=DEPTHWISE),
            point,
            Layer(MAX_POOL, 24, 24, 10, 4, 3, 2),
            window,
            Layer(FLATTEN, 16, 256, 4, 1),
            make_layer((256, 60, 1, 1, 1, 0, 1, 4), rng, True, "relu"),
            make_layer((60, 5, 1, 1, 1, 0, 1, 0), rng, True, "sigmoid"),
        ),
        3,
        21,
    )


SMALL = Setting(4, 6, 4, 5)
FAST = Setting(4, 6, 4, 32)  # 32 words have a look-up of their own


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tables_give_the_response_of_the_restored_weights(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(shape)
    layer = make_layer(shape, rng)
    books = fit_codebooks(layer, shape[-1], 5, 0)
    maps = draw_maps(layer, rng)
    by_weights = respond(reconstruct(layer, books), maps)
    np.testing.assert_allclose(respond_by_tables(layer, books, maps), by_weights, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_correction_never_increases_the_error_of_the_response(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(shape)
    layer, sub = make_layer(shape, rng), shape[-1]
    original = draw_maps(layer, rng, 40)
    disturbed = original + rng.standard_normal(original.shape).astype(np.float32)
    places = choose_places(layer, len(original), 0)
    wanted = respond(layer, original).transpose(0, 2, 3, 1)[places] - layer.bias
    columns = sample_columns(layer, disturbed, sub, places)
    products = products_of(columns, wanted)
    books = fit_codebooks(layer, sub, 5, 0)
    errors = []
    for _ in range(4):
        restored = reconstruct(layer, books)
        answers = respond(restored, disturbed).transpose(0, 2, 3, 1)[places] - layer.bias
        error = float(((answers - wanted) ** 2).sum() / (wanted**2).sum())
        assert response_error(restored, sub, products) == pytest.approx(error, abs=1e-4)
        errors.append(error)
        books = correct(books, products, 1)
    assert all(after <= before * 1.0001 for before, after in itertools.pairwise(errors))
    assert errors[1] < errors[0]


def test_sub_vectors_and_weights_convert_both_ways() -> None:
    layer = make_layer((16, 12, 9, 3, 2, 1, 2, 4), np.random.default_rng(0))
    vectors = sub_vectors(layer, 4)
    assert vectors.shape == (2, 2, 6, 9, 4)
    np.testing.assert_array_equal(vectors[1, 0, 2, 5], layer.weight[8, :4, 1, 2])
    np.testing.assert_array_equal(to_weight(vectors, layer), layer.weight)


def test_k_means_finds_the_points_if_they_are_few() -> None:
    rng = np.random.default_rng(0)
    points = np.repeat(rng.standard_normal((6, 4)).astype(np.float32), 20, axis=0)
    centers, nearest = k_means(points, 6, rng)
    np.testing.assert_allclose(centers[nearest], points, atol=1e-6)


def test_layers_that_tables_do_not_speed_up_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    layer = make_layer((64, 512, 7, 1, 1, 0, 1, 0), rng)
    assert table_operations(layer, 8, 128) == (128 * 64 * 49, 64 * 512 * 49 // 8)
    assert is_worth_coding(layer, Setting(8, 128))
    assert not is_worth_coding(replace(layer, kind=DEPTHWISE), Setting(8, 128))
    few = make_layer((64, 128, 7, 1, 1, 0, 1, 0), rng)
    assert not is_worth_coding(few, Setting(8, 128))
    assert not is_worth_coding(make_layer((3, 512, 9, 3, 1, 1, 1, 0), rng), Setting(3, 128))


def test_the_stored_size_is_that_of_the_file() -> None:
    network = make_network(np.random.default_rng(1))
    coded = quantize(network, SMALL, 0)
    assert sorted(coded.books) == [2, 4, 6]
    assert 0 < coded_share(network, coded.books) < 1
    head = 4 * (8 + 16 * len(network.layers))
    rounded = sum(-len(pack_indices(books)) % 4 for books in coded.books.values())
    assert abs(len(to_program(coded.network, coded.books)) - head - coded.stored_bytes) <= (
        rounded + 3 * len(coded.books)
    )
    assert len(to_program(network, {})) == head + network.weight_bytes


def test_a_whole_network_is_corrected_layer_by_layer() -> None:
    rng = np.random.default_rng(3)
    network = make_network(rng)
    pictures = rng.integers(-2, 3, (30, 3, 21, 21)).astype(np.float32)
    lines: list[str] = []
    coded = quantize_corrected(network, SMALL, pictures, 0, sweeps=2, log=lines.append)
    assert len(lines) == len(coded.errors) == 3
    assert all(after <= before for before, after in coded.errors.values())
    assert coded.network.layers[0] is network.layers[0]


COMPILERS = (("gcc", ()), ("gcc", ("-march=native",)), ("aarch64-linux-gnu-gcc", ("-static",)))


@pytest.mark.parametrize(("compiler", "flags"), COMPILERS, ids=["x86", "native", "aarch64"])
@pytest.mark.parametrize(("groups", "setting"), [(1, SMALL), (2, FAST)], ids=["one", "two"])
def test_the_program_computes_what_numpy_computes(
    compiler: str, flags: tuple[str, ...], groups: int, setting: Setting, tmp_path: Path
) -> None:
    emulator = ["qemu-aarch64"] if "aarch64" in compiler else []
    if missing := [each for each in (compiler, *emulator) if not shutil.which(each)]:
        pytest.skip(f"{missing[0]} is not installed")
    rng = np.random.default_rng(groups)
    network = make_network(rng, groups)
    whole = quantize(network, setting, 0)
    books = {  # whole numbers as codewords, too: then both must give the same sums to the bit
        number: replace(each, words=np.round(each.words)) for number, each in whole.books.items()
    }
    pictures = rng.integers(-2, 3, (3, 3, 21, 21)).astype(np.float32)
    program = build(tmp_path, compiler, *flags)
    for coded in ({}, books):
        file = tmp_path / "network.qcnn"
        file.write_bytes(to_program(network, coded))
        maps = pictures
        for number, layer in enumerate(network.layers[:-1]):
            tables = coded.get(number)
            made = respond_by_tables(layer, tables, maps) if tables else respond(layer, maps)
            maps = activate(layer, made)
        headless = replace(network, layers=network.layers[:-1])
        file.write_bytes(to_program(headless, coded))
        found = measure([*emulator, str(program)], file, pictures, tmp_path, runs=2)
        np.testing.assert_array_equal(found.answers, maps.reshape(3, -1))
        assert len(found.cpu_ms) == 2
        assert found.peak_bytes > 0
        file.write_bytes(to_program(network, coded))
        final = measure([*emulator, str(program)], file, pictures, tmp_path).answers
        wanted = activate(network.layers[-1], respond(network.layers[-1], maps))
        np.testing.assert_allclose(final, wanted.reshape(3, -1), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_coded_layer_runs_in_c(shape: tuple[int, ...], tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    rng = np.random.default_rng(shape)
    layer = make_layer(shape, rng, True)
    books = fit_codebooks(layer, shape[-1], 5, 0)
    books = replace(books, words=np.round(books.words))
    maps = draw_maps(layer, rng)
    layers = [layer]
    if layer.out_size > 1:
        layers.append(Layer(FLATTEN, layer.outputs, layer.outputs * layer.out_size**2,
                            layer.out_size, 1))  # fmt: skip
    network = Network(tuple(layers), layer.inputs, layer.in_size)
    file = tmp_path / "network.qcnn"
    file.write_bytes(to_program(network, {0: books}))
    found = measure([str(build(tmp_path))], file, maps, tmp_path)
    wanted = respond_by_tables(layer, books, maps)
    np.testing.assert_array_equal(found.answers, wanted.reshape(len(maps), -1))


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    network = make_network(np.random.default_rng(1))
    file = tmp_path / "network.qcnn"
    file.write_bytes(to_program(network, quantize(network, SMALL, 0).books)[:-40])
    pictures = np.zeros((1, 3, 21, 21), np.float32)
    with pytest.raises(ToolchainError, match="not a readable network"):
        measure([str(build(tmp_path))], file, pictures, tmp_path)
    with pytest.raises(ToolchainError, match="fatal"):
        build(tmp_path, "gcc", "-include", "no_such_header.h")
    with pytest.raises(ToolchainError, match="no-such-compiler"):
        build(tmp_path, "no-such-compiler")


def test_onnx_files_are_written_and_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    network = make_network(rng)
    mean = Layer(MEAN_POOL, 16, 16, 4, 1, 4, 4)
    network = replace(
        network,
        layers=(*network.layers[:5], mean, make_layer((16, 4, 1, 1, 1, 0, 1, 0), rng, True)),
    )
    pictures = rng.integers(-2, 3, (4, 3, 21, 21)).astype(np.float32)
    file = tmp_path / "network.onnx"
    onnx.save(to_onnx(network), file)
    again = read_network(file)
    wanted = run(network, pictures)
    np.testing.assert_allclose(run(again, pictures), wanted, atol=1e-3)
    made = session(file)
    np.testing.assert_allclose(made(pictures[:1]), wanted[:1], atol=1e-3)
    to_int8(network, pictures, tmp_path / "int8.onnx")
    rough = session(tmp_path / "int8.onnx")(pictures[:1])
    assert np.corrcoef(rough[0], wanted[0])[0, 1] > 0.9
    with pytest.raises(ModelInvalidError, match="QuantizeLinear"):
        read_network(tmp_path / "int8.onnx")


def test_bad_settings_are_refused() -> None:
    layer = make_layer((10, 4, 3, 1, 1, 0, 1, 0), np.random.default_rng(0))
    with pytest.raises(InputError, match="cannot be divided into sub-spaces of 4"):
        fit_codebooks(layer, 4, 3, 0)
    with pytest.raises(InputError, match="8 codewords for 4 sub-vectors"):
        fit_codebooks(layer, 5, 8, 0)
