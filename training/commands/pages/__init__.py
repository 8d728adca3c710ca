"""Commands that generate documents from result files."""
