"""Generators of the pages in docs/results/, from the reports in profiles/reports/."""
