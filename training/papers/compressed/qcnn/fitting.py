"""Quantize a network layer by layer, each layer given the quantized ones before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from training.papers.compressed.qcnn.codebooks import (
    Codebooks,
    Setting,
    fit_codebooks,
    is_worth_coding,
    reconstruct,
)
from training.papers.compressed.qcnn.correction import (
    choose_places,
    correct,
    products_of,
    response_error,
    sample_columns,
)
from training.papers.compressed.qcnn.layers import Floats, Network, activate, respond

SWEEPS = 3


@dataclass(frozen=True)
class Quantized:
    """A network of which some layers are codewords."""

    network: Network
    """With the weights that the codewords stand for."""
    books: dict[int, Codebooks]
    """By the number of the layer."""
    errors: dict[int, tuple[float, float]]
    """Squared error of the response as a share of its energy, before and after the correction, on
    the training photos."""

    @property
    def stored_bytes(self) -> int:
        """Return the bytes of codewords, packed indices, and all other weights and biases."""
        return sum(
            layer.bias.nbytes
            + (self.books[i].stored_bytes if i in self.books else layer.weight.nbytes)
            for i, layer in enumerate(self.network.layers)
        )


def quantize(network: Network, setting: Setting, seed: int) -> Quantized:
    """Fit the codebooks to the weights alone."""
    layers, books = list(network.layers), {}
    for number, layer in enumerate(network.layers):
        if is_worth_coding(layer, setting):
            books[number] = fit_codebooks(layer, *setting.of(layer), seed)
            layers[number] = reconstruct(layer, books[number])
    return Quantized(replace(network, layers=tuple(layers)), books, {})


def quantize_corrected(
    network: Network,
    setting: Setting,
    pictures: Floats,
    seed: int,
    sweeps: int = SWEEPS,
    log: Callable[[str], None] = lambda line: None,
) -> Quantized:
    """Fit the codebooks, then correct them to the response to `pictures` [N, channels, S, S]."""
    layers, books, errors = list(network.layers), {}, {}
    wanted = made = pictures  # what the original and the quantized layers before this one make
    for number, layer in enumerate(network.layers):
        if is_worth_coding(layer, setting):
            sub, words = setting.of(layer)
            places = choose_places(layer, len(pictures), seed)
            photo, row, column = places
            target = respond(layer, wanted)
            answers = target.transpose(0, 2, 3, 1)[photo, row, column] - layer.bias
            products = products_of(sample_columns(layer, made, sub, places), answers)
            first = fit_codebooks(layer, sub, words, seed)
            books[number] = correct(first, products, sweeps)
            layers[number] = reconstruct(layer, books[number])
            errors[number] = (
                response_error(reconstruct(layer, first), sub, products),
                response_error(layers[number], sub, products),
            )
            log(
                f"layer {number}: error of the response {errors[number][0]:.4f}, "
                f"corrected {errors[number][1]:.4f}"
            )
            made = activate(layer, respond(layers[number], made))
            wanted = activate(layer, target)
            continue
        same = made is wanted
        made = activate(layer, respond(layer, made))
        wanted = made if same else activate(layer, respond(layer, wanted))
    return Quantized(replace(network, layers=tuple(layers)), books, errors)


def coded_share(network: Network, books: dict[int, Codebooks]) -> float:
    """Return the share of the multiply-adds that look-up tables replace."""
    coded = sum(network.layers[number].multiply_adds for number in books)
    return coded / sum(layer.multiply_adds for layer in network.layers if layer.weight.size)
