"""The evaluation as one HTML page: tables, plots, and a contact sheet of the worst queries."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np

from edge_runtime.fit import fit
from edge_runtime.photo import read_photo
from training.data import Photo
from training.disturb import SEVERITIES
from training.files import write_bytes, write_whole
from training.judge import TOP, Ranking
from training.metrics import average_precision

matplotlib.use("agg")
from matplotlib import pyplot

_TILE, _SHOWN, _WORST = 112, 6, 16


def write_page(folder: Path, result: dict[str, Any], rankings: dict[str, Ranking]) -> Path:
    """Write index.html and its pictures into `folder`; returns the page's path."""
    parts = [f"<h1>{html.escape(result['model'])}, version {html.escape(result['version'])}</h1>"]
    parts.append(f"<p>{result['bits']} bits, {result['bytes']} bytes, id {result['id'][:16]}</p>")
    for source, entry in result["sets"].items():
        parts.append(f"<h2>{html.escape(source)}</h2>")
        columns = ("split", "queries", "database", "map100", "map100_tie_aware", "map_all",
                   "precision1", "precision10", "precision100")  # fmt: skip
        rows = [[name, *(row[c] for c in columns)] for name, row in entry["protocols"].items()]
        parts.append(_table(["protocol", *columns], rows))
        _curves(folder / f"{source}.png", entry)
        parts.append(f'<p><img src="{source}.png" alt="precision-recall and open set"></p>')
        if "disturbances" in entry:
            severities = list(SEVERITIES)
            rows = [[n, *(row[s] for s in SEVERITIES)] for n, row in entry["disturbances"].items()]
            parts.append("<h3>Disturbed queries, MAP@100</h3>")
            parts.append(_table(["disturbance", *severities], rows))
        parts.append("<h3>Worst pairs (nearest neighbour)</h3>")
        pairs = [list(pair.values()) for pair in entry["worst_pairs"]]
        parts.append(_table(["label", "taken for", "times"], pairs))
        parts.append("<h3>Worst queries, each beside its nearest neighbours</h3>")
        worst = cv2.imencode(".jpg", worst_queries(rankings[source]))[1].tobytes()
        write_bytes(folder / f"{source}-worst.jpg", worst)
        parts.append(f'<p><img src="{source}-worst.jpg" alt="worst queries"></p>')
        parts.append("<h3>Labels</h3>")
        labels = sorted(entry["labels"].items(), key=lambda item: item[1]["map100"])
        parts.append(_table(["label", "queries", "MAP@100"], [[n, *r.values()] for n, r in labels]))
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left}"
    page = folder / "index.html"
    text = f"<!doctype html><meta charset=utf-8><style>{style}</style>{''.join(parts)}"
    write_bytes(page, text.encode())
    return page


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def cell(value: Any) -> str:
        return html.escape(f"{value:.2f}" if isinstance(value, float) else str(value))

    body = "".join(f"<tr>{''.join(f'<td>{cell(v)}</td>' for v in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{cell(h)}</th>' for h in head)}</tr>{body}</table>"


def _curves(path: Path, entry: dict[str, Any]) -> None:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for name, row in entry["protocols"].items():
        recall, precision = zip(*row["recall_precision"], strict=True)
        left.plot(recall, precision, label=name)
    left.set(xlabel="recall", ylabel="precision", ylim=(0, 1))
    left.legend()
    if measured := entry.get("open_set"):
        right.plot(measured["accepted_unknown"], measured["accepted_known"])
        right.set(xlabel="unknown accepted", ylabel="known accepted",
                  title=f"open set, area {measured['auroc']:.3f}")  # fmt: skip
    else:
        right.set_axis_off()
    figure.tight_layout()
    write_whole(path, lambda file: figure.savefig(file, dpi=100, format="png"))
    pyplot.close(figure)


def worst_queries(ranking: Ranking) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 picture: a row for each of the worst queries, its nearest neighbours to the right.

    A green frame is the right label, a red one a wrong one.
    """
    ap = average_precision(ranking.relevant, TOP)
    rows = []
    for query in np.argsort(ap, kind="stable")[:_WORST]:
        wanted = ranking.queries.photos[int(query)]
        tiles = [_tile(wanted, (200, 200, 200))]
        for place in ranking.order[query, :_SHOWN]:
            photo = ranking.database.photos[int(place)]
            right = photo.label == wanted.label
            tiles.append(_tile(photo, (0, 160, 0) if right else (0, 0, 200)))
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def contact_sheet(photos: list[Photo], across: int = 12) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 picture of `photos`, `across` in a row."""
    tiles = [_tile(photo, (200, 200, 200)) for photo in photos]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % across)
    return np.vstack([np.hstack(tiles[i : i + across]) for i in range(0, len(tiles), across)])


def _tile(photo: Photo, colour: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    square = fit(read_photo(photo.path), _TILE)
    framed = cv2.copyMakeBorder(square, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=colour)
    return np.asarray(framed, dtype=np.uint8)


def plot_log(log: Path, picture: Path) -> None:
    """Draw a run's log.csv: loss and learning rate by epoch."""
    rows = np.genfromtxt(log, delimiter=",", names=True, ndmin=1)
    figure, left = pyplot.subplots(figsize=(8, 4))
    left.plot(rows["epoch"], rows["loss"])
    left.set(xlabel="epoch", ylabel="training loss")
    right = left.twinx()
    right.plot(rows["epoch"], rows["rate"], color="grey", linestyle=":")
    right.set_ylabel("learning rate")
    figure.tight_layout()
    write_whole(picture, lambda file: figure.savefig(file, dpi=100, format="png"))
    pyplot.close(figure)
