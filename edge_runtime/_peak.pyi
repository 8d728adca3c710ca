def peak() -> float:
    """Return the peak float32 multiply-adds per second of one core; 0 if unknown."""
