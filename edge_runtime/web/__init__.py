"""The web page, the HTTP API and the metrics of a running daemon.

They are an optional extra, loaded only if the configuration enables them. The web server reads the
daemon's state and submits work to its queue; the daemon does not import this package. All code here
runs on the server's own thread or on threads that it starts.
"""
