"""The sounds of a gallery: fingerprints stored beside the labels."""
