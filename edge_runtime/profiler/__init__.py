"""Measure the daemon's own pipeline on this machine; `run.Profile` produces the report.

Nothing is imported here: `cold_start_child` runs in new processes and times its imports itself.
"""
