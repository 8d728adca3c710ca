"""Print the configuration guide: python -m edge_runtime.settings > docs/CONFIGURATION.md."""

import sys

from edge_runtime.settings.describe import document

sys.stdout.write(document())
