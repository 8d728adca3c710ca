"""Smaller and faster networks (survey, section 1.4)."""
