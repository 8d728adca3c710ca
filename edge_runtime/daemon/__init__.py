"""The daemon: run the recognition pipeline on a camera until it is stopped."""

from edge_runtime.daemon.loop import Daemon, Observer, Summary

__all__ = ["Daemon", "Observer", "Summary"]
