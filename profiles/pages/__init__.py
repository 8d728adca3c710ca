"""Documents generated from the reports in profiles/reports."""
