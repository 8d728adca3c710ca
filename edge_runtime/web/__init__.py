"""The page, API and metrics of a running daemon: an extra, loaded only where it is asked for.

It looks at the daemon and hands it errands; the path does not know of it. Everything here runs on
the server's own thread, or on those it starts.
"""
