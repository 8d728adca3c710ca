"""Studies: one module per verb."""
