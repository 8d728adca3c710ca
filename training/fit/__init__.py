"""Train the network: the trainer, its command, run folders and weight averaging."""
