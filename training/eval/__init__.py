"""Evaluation: retrieval metrics, protocols, corruptions and the report page."""
