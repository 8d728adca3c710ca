"""The search for the fastest schedules: strategies, runners, and the tuning records."""
