"""The tables of the two papers: every system that they name, run here on public data."""
