"""Checks of this machine and of the installation, for `edge-runtime doctor`."""
