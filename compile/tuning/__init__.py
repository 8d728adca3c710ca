"""The search for the fastest schedules, its runners and the database of results."""
