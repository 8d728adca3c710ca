"""Clips, sound and heading as queries (survey, section 3.4)."""
