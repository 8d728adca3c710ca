"""Clips as queries of the API: received into a file, read by a child process with limits."""
