"""The daemon: the path, run on a camera for as long as anyone likes."""

from edge_runtime.daemon.loop import Daemon, Observer, Summary

__all__ = ["Daemon", "Observer", "Summary"]
