"""A hash layer for a folder of photos without labels."""
