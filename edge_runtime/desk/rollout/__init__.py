"""Roll out a model to the boards of a fleet, in waves."""
