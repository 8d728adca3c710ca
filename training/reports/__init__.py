"""Documents generated from training/results: the accuracy page and the model card."""
