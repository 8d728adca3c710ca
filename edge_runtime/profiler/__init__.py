"""Measures the daemon's own path on this machine; `run.profile` makes the report.

Nothing is imported here: `coldstart` is run in fresh processes and times its imports itself.
"""
