"""Write the evaluation as one HTML page: tables, plots and a contact sheet of the worst queries."""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import matplotlib
import numpy as np

from edge_runtime.image.decode import read_photo
from edge_runtime.image.preprocess import preprocess
from training.data.photo_sets import Photo
from training.eval.corruptions import SEVERITIES
from training.eval.metrics import average_precision
from training.eval.retrieval import OPEN_SETS, TOP, Ranking, acceptance_rates
from training.files import write_bytes
from training.onnx.import_model import input_summary

matplotlib.use("agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

_TILE, _SHOWN, _WORST = 112, 6, 16
_HEALTH = {"least_balanced_bit": "0.5", "largest_correlation": "0", "distinct_codes": "1"}
"""Figures of the codes, with their best values."""


def write_report(folder: Path, result: dict[str, Any], rankings: dict[str, Ranking]) -> Path:
    """Write index.html and its pictures into `folder`; returns the page's path."""
    parts = [f"<h1>{html.escape(result['model'])}, version {html.escape(result['version'])}</h1>"]
    about = (
        f"{result['bits']} bits, radius {result['radius']}, {result['bytes']} bytes,"
        f" id {result['id'][:16]}; {input_summary(result['description'])};"
        f" photos of every split: split.csv, SHA-256 {result['split_sha256'][:16]}"
    )
    parts.append(f"<p>{html.escape(about)}</p>")
    for source, entry in result["sets"].items():
        parts.append(f"<h2>{html.escape(source)}</h2>")
        columns = ("split", "queries", "database", "map100", "map100_tie_aware", "map_all",
                   "precision1", "precision10", "precision100")  # fmt: skip
        rows = [[name, *(row[c] for c in columns)] for name, row in entry["protocols"].items()]
        parts.append(_table(["protocol", *columns], rows))
        parts.append(_picture(folder, f"{source}.png", _curves(entry, result["radius"])))
        parts += _open_sets(entry, result["radius"])
        parts += _codes(entry)
        if "disturbances" in entry:
            severities = list(SEVERITIES)
            rows = [[n, *(row[s] for s in SEVERITIES)] for n, row in entry["disturbances"].items()]
            parts.append("<h3>Disturbed queries, MAP@100</h3>")
            parts.append(_picture(folder, f"{source}-disturbed.png", _disturbed(entry)))
            parts.append(_table(["disturbance", *severities], rows))
        parts.append("<h3>Worst pairs (nearest neighbor)</h3>")
        pairs = [list(pair.values()) for pair in entry["worst_pairs"]]
        parts.append(_table(["label", "taken for", "times"], pairs))
        parts.append("<h3>Worst queries, each beside its nearest neighbors</h3>")
        worst = cv2.imencode(".jpg", worst_queries(rankings[source]))[1].tobytes()
        parts.append(_picture(folder, f"{source}-worst.jpg", worst))
        parts.append("<h3>Labels</h3>")
        labels = sorted(entry["labels"].items(), key=lambda item: item[1]["map100"])
        parts.append(_table(["label", "queries", "MAP@100"], [[n, *r.values()] for n, r in labels]))
        if entry["skipped"]:
            parts.append(f"<h3>Skipped photos: {len(entry['skipped'])}</h3>")
            lines = "".join(f"<li>{html.escape(line)}</li>" for line in entry["skipped"])
            parts.append(f"<ul>{lines}</ul>")
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left}"
    page = folder / "index.html"
    text = f"<!doctype html><meta charset=utf-8><style>{style}</style>{''.join(parts)}"
    write_bytes(page, text.encode())
    return page


def _picture(folder: Path, name: str, data: bytes) -> str:
    write_bytes(folder / name, data)
    alt = html.escape(Path(name).stem)
    return f'<p><img src="{html.escape(quote(name))}" alt="{alt}"></p>'


def _open_sets(entry: dict[str, Any], radius: int) -> list[str]:
    rows = [
        [name.replace("_", " "), f"{entry[name]['auroc']:.3f}",
         *acceptance_rates(entry[name], radius), entry[name]["radius"]]
        for name in OPEN_SETS if name in entry
    ]  # fmt: skip
    head = ["", "area under ROC", f"known accepted at radius {radius}, %",
            f"unknown accepted at radius {radius}, %", "best radius here"]  # fmt: skip
    return ["<h3>Open set</h3>", _table(head, rows)] if rows else []


def _codes(entry: dict[str, Any]) -> list[str]:
    values = entry["codes"]
    rows = [[name.replace("_", " "), f"{values[name]:.3f}", best] for name, best in _HEALTH.items()]
    return ["<h3>Codes of the database</h3>", _table(["", "share", "best"], rows)]


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def cell(value: Any) -> str:
        return html.escape(f"{value:.2f}" if isinstance(value, float) else str(value))

    body = "".join(f"<tr>{''.join(f'<td>{cell(v)}</td>' for v in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{cell(h)}</th>' for h in head)}</tr>{body}</table>"


def _curves(entry: dict[str, Any], radius: int) -> bytes:
    """Plot precision over recall per protocol, and the open-set ROC with the model's radius."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for name, row in entry["protocols"].items():
        recall, precision = zip(*row["recall_precision"], strict=True)
        left.plot(recall, precision, label=name)
    left.set(xlabel="recall", ylabel="precision", ylim=(0, 1))
    left.legend()
    measured = {name: entry[name] for name in OPEN_SETS if name in entry}
    for name, each in measured.items():
        unknown, known = each["accepted_unknown"], each["accepted_known"]
        what = f"{name.replace('_', ' ')}, area {each['auroc']:.3f}"
        (line,) = right.plot(unknown, known, label=what)
        right.plot(unknown[radius], known[radius], "o", color=line.get_color())
    if measured:
        right.set(xlabel="unknown accepted", ylabel="known accepted",
                  title=f"open set; the point: radius {radius}")  # fmt: skip
        right.legend(loc="lower right")
    else:
        right.set_axis_off()
    return _png(figure)


def _disturbed(entry: dict[str, Any]) -> bytes:
    """Plot MAP@100 of each disturbance by severity, beside the undisturbed value."""
    plain, table = entry["protocols"]["official"]["map100"], entry["disturbances"]
    figure, axes = pyplot.subplots(figsize=(10, 4))
    places = np.arange(len(table))
    for turn, (severity, shade) in enumerate(zip(SEVERITIES, ("0.75", "0.5", "0.25"), strict=True)):
        heights = [row[severity] for row in table.values()]
        axes.bar(places + 0.27 * (turn - 1), heights, 0.25, color=shade, label=severity)
    axes.axhline(plain, linestyle="--", label=f"undisturbed {plain:.1f}")
    axes.set_xticks(places, list(table))
    axes.set(ylabel="MAP@100", ylim=(0, 100))
    axes.legend(loc="lower right", ncols=4, framealpha=1)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.tight_layout()
    figure.savefig(picture, dpi=100, format="png")
    pyplot.close(figure)
    return picture.getvalue()


def worst_queries(ranking: Ranking) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw one row per worst query, with its nearest neighbors to the right (uint8 image).

    A green frame marks a correct label, a red frame a wrong one.
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
    """Draw `photos` as one uint8 image, `across` per row."""
    tiles = [_tile(photo, (200, 200, 200)) for photo in photos]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % across)
    return np.vstack([np.hstack(tiles[i : i + across]) for i in range(0, len(tiles), across)])


def _tile(photo: Photo, color: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    square = preprocess(read_photo(photo.path), _TILE)
    framed = cv2.copyMakeBorder(square, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=color)
    return np.asarray(framed, dtype=np.uint8)


def plot_log(log: Path, picture: Path) -> None:
    """Draw a run's log.csv: loss and learning rate by epoch."""
    rows = np.genfromtxt(log, delimiter=",", names=True, ndmin=1)
    figure, left = pyplot.subplots(figsize=(8, 4))
    left.plot(rows["epoch"], rows["loss"])
    left.set(xlabel="epoch", ylabel="training loss")
    right = left.twinx()
    right.plot(rows["epoch"], rows["rate"], color="gray", linestyle=":")
    right.set_ylabel("learning rate")
    write_bytes(picture, _png(figure))
