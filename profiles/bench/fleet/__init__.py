"""A whole fleet as processes on one machine, under faults."""
