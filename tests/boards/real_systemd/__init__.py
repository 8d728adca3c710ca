"""Deployment and roll-outs under a real systemd, in a container of this machine."""
