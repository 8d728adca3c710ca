"""From a float network to int8: calibration, rounding, and a numpy reference."""
