"""The networks that are trained, their weights and checkpoints."""
