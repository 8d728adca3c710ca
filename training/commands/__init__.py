"""The commands: one module per verb of `python -m training`."""
