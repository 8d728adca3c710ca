"""The history: events with a snapshot each, in a file of its own beside the gallery."""
