"""`python -m training papers VERB`: run the tables of the papers and generate their page."""

from __future__ import annotations

import click

from training.cli import LazyGroup

VERBS = {
    "all": ("all", "Run every table, then write the page."),
    "unlabelled": ("unlabelled", "Judge codes fitted to photos without labels."),
    "table3": ("table3", "Repeat Table 3 of the seed paper on both backbones."),
    "low-rank-pruned": ("low_rank_pruned", "Judge low-rank and pruned hash networks."),
    "alexnet": ("alexnet", "Train the small AlexNet-shaped network that other tables need."),
    "cifar10": ("cifar10", "Run hashing methods on CIFAR-10 by the survey's protocol."),
    "cifar10-search": ("cifar10_search", "Search the settings of the methods of cifar10."),
    "cifar10-unlabelled": ("cifar10_unlabelled", "Run methods without labels on CIFAR-10."),
    "handmade": ("handmade", "Judge VHB and SSFS beside global features and networks."),
    "clips": ("clips", "Judge clips, sound and heading as queries."),
    "quantized-cnn": (
        "quantized_cnn",
        "Judge the Quantized CNN beside fp32 and int8: MAP, storage, memory, time.",
    ),
    "multi-index": ("multi_index", "Compare divisions of the bits in multi-index hashing."),
    "page": ("page", "Generate docs/results/PAPERS.md from training/results/papers/."),
    "transmission": ("transmission", "Compare the ways to send a query: bytes against accuracy."),
}
"""Verb -> module in this package and one line of help."""


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def main() -> None:
    """Run the tables of the papers: every system that they name, published beside ours.

    Each table is written to training/results/papers/ by its verb. A long one resumes when it is
    repeated.

    \b
        python -m training papers page --check
    """
