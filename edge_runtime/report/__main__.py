"""Update docs/report.schema.json and the table of fields in docs/PROFILING.md of a checkout."""

import json
from pathlib import Path

from edge_runtime.report.describe import document, json_schema

docs = Path(__file__).resolve().parents[2] / "docs"
(docs / "report.schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n", "utf-8")
page = docs / "PROFILING.md"
page.write_text(document(page.read_text("utf-8")), "utf-8")
