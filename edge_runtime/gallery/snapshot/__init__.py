"""The enrolled codes as packed arrays: in memory, in a file, and kept up to date."""
