"""The client of a server of codes: what a board asks, and what leaves it."""
