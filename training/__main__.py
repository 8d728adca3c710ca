"""The command-line front: `python -m training VERB`."""

from __future__ import annotations

from importlib import import_module

import click

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
    "accuracy-page": (
        "pages.accuracy_page",
        "Generate docs/results/ACCURACY.md and the cards in models/.",
    ),
    "model-card": ("pages.model_card", "Generate the card of a model from its result files."),
}
"""Verb -> module in `training.commands` and one line of help."""


class _LazyGroup(click.Group):
    """Imports the module of a verb only when the verb runs, so that `--help` needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of `VERBS`."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of a verb, or None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"training.commands.{VERBS[cmd_name][0]}").main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train, evaluate and export hash networks."""


if __name__ == "__main__":
    main(prog_name="python -m training")
