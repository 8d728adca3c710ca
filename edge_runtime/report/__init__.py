"""The profiler's report: its schema, its file, its views, and the comparison of two.

`schema.Report` is the one description: files are validated against it, docs/report.schema.json and
the table of fields in docs/PROFILING.md are made from it.
"""

from edge_runtime.report.file import read_report, write_report
from edge_runtime.report.schema import SCHEMA_VERSION, Report

__all__ = ["SCHEMA_VERSION", "Report", "read_report", "write_report"]
