"""The command-line front: `python -m training VERB`."""

from __future__ import annotations

import click

from training.cli import LazyGroup

VERBS = {
    "train": ("train", "Train the backbone end to end with a hashing method."),
    "build-model": ("build_model", "Fit a hash layer to a backbone and export the ONNX model."),
    "finetune": ("finetune", "Fit the hash layer of the shipped model to your own photos."),
    "evaluate": ("evaluate", "Measure the retrieval accuracy of an ONNX hash model."),
    "strangers": ("strangers", "Judge a model on new objects that it was not trained on."),
    "quantize": ("quantize", "Convert an fp32 ONNX model to int8."),
    "import-model": ("import_model", "Convert an ONNX hash model that was made elsewhere."),
    "blend": ("blend", "Blend a trained model with ImageNet weights: the general model."),
    "compare-shares": (
        "studies.compare_shares",
        "Compare blends on new objects and on their own sets.",
    ),
    "unseen": (
        "studies.unseen",
        "Judge codes fitted to a gallery on labels that training did not see.",
    ),
    "seen": ("studies.seen", "Judge codes fitted to a gallery of the labels that training saw."),
    "average-weights": ("average_weights", "Average a trained backbone with its ImageNet weights."),
    "compare-methods": (
        "studies.compare_methods",
        "Compare hashing methods on the features of a backbone.",
    ),
    "code-lengths": (
        "studies.code_lengths",
        "Compare hash layers of 16 to 128 bits over several seeds.",
    ),
    "ablation": ("studies.ablation", "Train variants of a recipe under the same short budget."),
    "set-stats": ("set_stats", "Describe sets of photos: labels, splits, sizes, duplicates."),
    "papers": ("papers", "Run the tables of the papers and generate their page."),
    "accuracy-page": (
        "pages.accuracy_page",
        "Generate docs/results/ACCURACY.md and the cards in models/.",
    ),
    "model-card": ("pages.model_card", "Generate the card of a model from its result files."),
}
"""Verb -> module in `training.commands` and one line of help."""


@click.group(
    cls=LazyGroup,
    package="training.commands",
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """Train, evaluate and export hash networks."""


if __name__ == "__main__":
    main(prog_name="python -m training")
