"""Profiling reports: schema, file format, views and comparison.

`schema.Report` is the only description. Files are validated against it, and
docs/report.schema.json and the table of fields in docs/PROFILING.md are generated from it.
"""

from edge_runtime.report.file import read_report, write_report
from edge_runtime.report.schema import SCHEMA_VERSION, Report

__all__ = ["SCHEMA_VERSION", "Report", "read_report", "write_report"]
