"""The ways to send a query: its bytes, and the score of each stored photo that they lead to.

The server does the best it can with what it gets. From a photo it computes the features of the
network. Features rank by cosine, bits by Hamming distance. Local features are hashed, looked up in
the tables of VHB, and compared as exactly as they arrived; the stored ones that are looked up were
coded in the same way.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import unpack
from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.prior import FeaturePrior
from edge_runtime.fitting.quantized import unit
from training.eval.metrics import distances
from training.papers.handmade import vhb
from training.papers.handmade.gallery import Gallery, make_gallery, weights
from training.papers.handmade.local_features import LocalFeatures, root
from training.papers.handmade.voting import votes
from training.papers.transmission.product_quantizer import ProductQuantizer

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

SCALED = ((24, 50), (32, 50), (48, 50), (64, 50), (96, 50), (128, 50), (224, 80))
"""Longer side in pixels and JPEG quality of scaled-down photos."""
COUNTS = (5, 15, 50, 150)
"""Local features that are sent, the strongest first."""
LENGTHS = (16, 32, 64, 96, 128)
"""Bits of hash codes."""
GAPS, STEP = (4, 8, 16), 16
"""Progressive sending: bits per step, and the lead of the nearest label that ends it."""
PARTS = 16
"""Bytes of a local feature after product quantization."""
_SCALE, _FAR = 10.0, 0.5
_SAMPLE = 5000
"""Local features that the quantizer is fitted to."""


class Sent(NamedTuple):
    """The queries of one set, sent in one way."""

    way: str
    setting: str
    bytes: float
    """Per query, in the mean."""
    scores: Floats
    """[Q, D], more is better."""


def scaled_photos(
    images: Callable[[int], Image], count: int, embed: Callable[[Image], Floats], stored: Floats
) -> Iterator[Sent]:
    """Send `count` images as small JPEGs; `embed` computes the features of what arrives."""
    for side, quality in SCALED:
        sizes, features = [], []
        for row in range(count):
            image = images(row)
            scale = min(1.0, side / max(image.shape[:2]))
            size = [max(1, round(each * scale)) for each in image.shape[1::-1]]
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            sizes.append(len(data))
            features.append(embed(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)))
        scores = unit(np.stack(features)) @ unit(stored).T
        setting = f"{side} px, quality {quality}"
        yield Sent("scaled-down JPEG", setting, float(np.mean(sizes)), scores)


Coded = tuple[LocalFeatures, int]
"""Features as they arrive, and the bytes that were sent."""


class LocalServer:
    """Ranks stored photos by local features that arrive in one form.

    It passes its own features through the same form before it hashes them: the form changes bits of
    a feature, and changes the same bits of the same feature.
    """

    def __init__(
        self,
        photos: list[LocalFeatures],
        form: Callable[[LocalFeatures], Coded],
        seed: int,
        *,
        bits_alone: bool = False,
    ) -> None:
        """Index `photos`. With `bits_alone`, there are no descriptors that refine a distance."""
        self._form, self._bits_alone = form, bits_alone
        self._gallery: Gallery = make_gallery([form(each)[0] for each in photos], vhb.BITS, seed)
        self._stored = np.concatenate([each.descriptors for each in photos])
        self._roots = np.sqrt([max(len(each), 1) for each in photos]).astype(np.float32)

    def answer(self, features: LocalFeatures) -> tuple[Floats, int]:
        """Send `features` and return the scores [D], and the bytes that were sent."""
        gallery = self._gallery
        received, size = self._form(features)
        matches = gallery.match(received)
        weight = weights(matches, len(received), gallery.photos, _SCALE)
        if not self._bits_alone:  # the exact distance refines that of the bits
            stored = root(self._stored[matches.stored])
            apart = ((root(received.descriptors)[matches.query] - stored) ** 2).sum(1)
            weight = weight * np.exp(-apart / _FAR).astype(np.float32)
        return votes(matches, weight, gallery.photos) / self._roots, size


def local_queries(
    photos: list[LocalFeatures], queries: list[LocalFeatures], seed: int
) -> Iterator[Sent]:
    """Send the strongest local features: raw, with few levels, quantized by parts, as bits."""
    sample = np.concatenate([each.descriptors for each in photos])
    sample = sample[np.random.default_rng((seed, 7)).permutation(len(sample))[:_SAMPLE]]
    quantizer = ProductQuantizer(root(sample), PARTS, seed)

    def quantized(features: LocalFeatures) -> Coded:
        values = quantizer.decode(quantizer.encode(root(features.descriptors)))
        return _with(features, values), len(features) * PARTS

    forms: dict[str, Callable[[LocalFeatures], Coded]] = {
        "raw SIFT": lambda each: (each, each.descriptors.size),
        "SIFT of 4 levels, entropy-coded": _coarse,
        "SIFT by product quantization": quantized,
        "bag of hash bits (VHB)": lambda each: (each, len(each) * vhb.BITS // 8),
    }
    for way, form in forms.items():
        server = LocalServer(photos, form, seed, bits_alone="bits" in way)
        for count in COUNTS:
            answers = [server.answer(each.rows(slice(0, count))) for each in queries]
            size = float(np.mean([size for _, size in answers]))
            yield Sent(way, f"{count} features", size, np.stack([found for found, _ in answers]))


def _coarse(features: LocalFeatures) -> Coded:
    """Return features whose descriptors have 4 levels each, and their bytes after DEFLATE."""
    levels = np.digitize(features.descriptors, (10, 35, 80))
    planes = [np.packbits(plane == 1, axis=1) for plane in (levels & 1, levels >> 1)]
    packed = b"".join(plane.tobytes() for plane in planes)
    values = np.array([2, 20, 55, 110], np.uint8)[levels]
    size = len(zlib.compress(packed, 9))
    return LocalFeatures(features.places, features.angles, features.scales, values), size


def _with(features: LocalFeatures, values: Floats) -> LocalFeatures:
    """Return `features` with descriptors made of RootSIFT `values` [N, 128]."""
    squares = np.clip(values, 0, None) ** 2
    descriptors = np.rint(squares / squares.max(1, keepdims=True, initial=1e-9) * 255)
    return LocalFeatures(
        features.places, features.angles, features.scales, descriptors.astype(np.uint8)
    )


def global_queries(stored: Floats, asked: Floats) -> Iterator[Sent]:
    """Send the network's features [Q, F]: as floats, halves, bytes, and principal components."""
    database, queries = unit(stored), unit(asked)
    width, way = asked.shape[1], "global features"
    yield Sent(way, f"{width} float32", 4 * width, queries @ database.T)
    halves = queries.astype(np.float16).astype(np.float32)
    yield Sent(way, f"{width} float16", 2 * width, halves @ database.T)
    yield Sent(way, f"{width} int8", width, _bytes(queries) @ database.T)
    mean = database.mean(0)
    vectors = np.linalg.eigh(np.cov((database - mean).T))[1][:, ::-1].astype(np.float32)
    for count in (256, 64, 16):
        if count < min(width, len(stored)):
            below = unit((database - mean) @ vectors[:, :count])
            sent = _bytes(unit((queries - mean) @ vectors[:, :count]))
            yield Sent(way, f"{count} principal components, int8", count, sent @ below.T)


def _bytes(rows: Floats) -> Floats:
    """Return rows after they were sent as int8, each scaled by its largest value."""
    scale = np.abs(rows).max(1, keepdims=True) / 127
    return unit(np.rint(rows / scale))


def hash_queries(
    stored: Floats, labels: NDArray[np.int64], asked: Floats, prior: FeaturePrior | None, seed: int
) -> Iterator[Sent]:
    """Send hash codes that are fitted to the database as the runtime fits them to a gallery."""
    for bits in LENGTHS:
        layer = fit_layer(stored, labels, bits, prior, seed=seed)
        near = distances(layer.codes(asked), layer.codes(stored)).astype(np.float32)
        yield Sent("hash bits", f"{bits} bits", bits / 8, -near)
    ones, others = (unpack(layer.codes(each), bits) for each in (asked, stored))
    for gap in GAPS:
        size, scores = progressive(ones, others, labels, gap)
        yield Sent("hash bits, progressive", f"lead of {gap} bits", size, scores)


def progressive(
    asked: NDArray[np.bool_], stored: NDArray[np.bool_], labels: NDArray[np.int64], gap: int
) -> tuple[float, Floats]:
    """Send bits [Q, K] in steps of STEP until the nearest label leads by `gap` bits.

    Returns the mean bytes of a query and the scores [Q, D] of the bits that were sent.
    """
    sizes, scores = [], []
    for query in asked:
        differing = query != stored
        for sent in range(STEP, len(query) + 1, STEP):
            near = differing[:, :sent].sum(1)
            first = labels == labels[near.argmin()]
            rest = near[~first].min(initial=len(query))
            if rest - near[first].min() >= gap:
                break
        sizes.append(sent / 8)
        scores.append(-near.astype(np.float32))
    return float(np.mean(sizes)), np.stack(scores)
