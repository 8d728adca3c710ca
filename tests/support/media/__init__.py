"""Films and sounds for tests."""
