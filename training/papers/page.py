"""Generate the text of docs/results/PAPERS.md from the result files and the registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.papers.compressed.counts import COUNTED, SMALL, not_judged, read_counts, with_counts
from training.papers.compressed.variants import counted_names
from training.papers.pages.duration import durations
from training.papers.pages.layout import tables as layout
from training.papers.pages.verdicts import verdicts, without_verdicts
from training.papers.pages.wording import sentence
from training.papers.published import AGAINST_AUTHORS
from training.papers.registry.hashing import HASHING
from training.papers.registry.named import Named
from training.papers.registry.networks import NETWORKS
from training.papers.registry.search import SEARCH
from training.papers.rows import RESULTS, Row, Table, read_tables
from training.papers.times import Spent, read_times
from training.reports.tables import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "PAPERS.md"
TITLES = {
    "table3": "Table 3 of the seed paper",
    "cifar10": "CIFAR-10: supervised methods",
    "cifar10_unlabelled": "CIFAR-10: methods without labels",
    "cifar10_search": "CIFAR-10: search for settings",
    "handmade": "Hand-made systems",
    "unlabelled": "A code for photos without labels",
    "multi_index": "Multi-index hashing with correlated bits apart",
    "quantized_cnn": "Quantized CNN",
    "low_rank_pruned": "Low rank and pruned networks",
    "transmission": "Transmission",
    "clips": "Clips, sound and heading",
}
"""Result file -> title of its section, in the order of the page."""
DURATION = "How long the tables take"
PLOTS = {"transmission": ("images/transmission.svg", "bytes per query against P@1")}
"""Result file -> the plot that its command writes beside it, from the page, and what it shows."""
SECTIONS = (
    ("Hashing and search", HASHING),
    ("Mobile visual search", SEARCH),
    ("Networks and their optimization", NETWORKS),
)


def document(
    tables: Mapping[str, Table] | None = None, times: Mapping[str, Spent] | None = None
) -> str:
    """Generate the text of the page from `tables`, name to table, and the times of their verbs.

    By default, both are those of training/results/papers/.
    """
    found = read_tables() if tables is None else tables
    spent = (read_times(RESULTS) if tables is None else {}) if times is None else times
    parts = [
        "# The papers",
        "Generated from `training/results/papers/*.json` by `python -m training papers page`; a"
        " test checks that the page is up to date. The papers are Qi, Liu & Liu, *An efficient deep"
        " learning hashing neural network for mobile visual search* (the seed paper) and Liu, Ma,"
        " Qi, Zhao & Chen, *Deep learning hashing for mobile visual search* (2017, the survey)."
        f" `make papers` repeats every table ([how long they take](#{anchor(DURATION)})).",
        "A figure of this project is the mean of three seeds ± their standard deviation, or its row"
        " says why there are fewer. A published figure was made on other data, networks or splits,"
        " so the two do not compare directly; each table says what differs. A published figure that"
        " could not be checked against the paper or its authors' code is left out.",
        "## Every system that the papers name",
    ]
    for title, systems in SECTIONS:
        rows = [[each.name, each.section, where(each, found)] for each in systems]
        parts += [f"### {title}", markdown(["system", "named in", "here"], rows)]
    ordered = sorted(found, key=lambda name: [*TITLES, name].index(name))
    for name in ordered:
        parts += _section(name, found[name])
    parts += [f"## {DURATION}", *durations({name: found[name] for name in ordered}, spent)]
    return "\n\n".join(parts) + "\n"


def where(system: Named, tables: Mapping[str, Table]) -> str:
    """State where a system runs, or why it does not."""
    if system.missing:
        return f"**missing**: {system.missing}"
    if not system.table:
        return system.elsewhere
    link = f"[{title_of(system.table)}](#{anchor(title_of(system.table))})"
    table = tables.get(system.table)
    if table is None:
        return f"**not finished**: `python -m training papers {system.table.replace('_', '-')}`"
    if not rows_of(system, table):
        return f"**missing**: no row in {link}"
    if not any(row.values for row in rows_of(system, table)):
        return f"**not finished**: {link}"
    return link


def rows_of(system: Named, table: Table) -> list[Row]:
    """Return the rows of `table` that belong to a system."""
    return [
        row
        for row in table.rows
        if not system.rows or any(row.system.startswith(start) for start in system.rows)
    ]


def title_of(name: str) -> str:
    """Return the title of the section of a result file."""
    return TITLES.get(name, name.replace("_", " "))


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = "".join(each for each in title.lower() if each.isalnum() or each in " -")
    return kept.replace(" ", "-")


def _section(name: str, table: Table) -> list[str]:
    notes = without_verdicts(table.notes, table.rows) if name == "table3" else table.notes
    rows = table.rows
    if name == "low_rank_pruned":
        names, counts = counted_names(), read_counts(SMALL)
        rows = with_counts([*rows, *not_judged(rows, names, counts)], names, counts)
        notes = [*notes, COUNTED]
    if name == "cifar10_unlabelled":
        notes = [*notes, AGAINST_AUTHORS]
    parts = [f"## {title_of(name)}", f"    {table.command}", sentence(table.data)]
    if notes:
        parts.append("\n".join(f"- {sentence(note)}" for note in notes))
    if name in PLOTS:
        place, shows = PLOTS[name]
        parts.append(f"![{shows}]({place})")
    if name == "table3":
        parts += verdicts(table.rows)
    return [*parts, *layout(rows), *_differences(rows)]


def _differences(rows: Sequence[Row]) -> list[str]:
    """State on what the published figures were measured and what differs, once per sentence."""
    parts = []
    for title, attribute in (("Published on", "published_on"), ("What differs", "differs")):
        said: dict[str, list[str]] = {}
        for row in rows:
            if text := getattr(row, attribute):
                said.setdefault(text, []).append(row.system)
        common = Counter({text: len(systems) for text, systems in said.items()}).most_common()
        lines = [
            f"- {', '.join(dict.fromkeys(said[text]))}: {sentence(text)}" for text, _ in common
        ]
        if lines:
            parts += [f"{title}:", "\n".join(lines)]
    return parts
