"""Table 3 of the seed paper, each method on its own backbone."""
