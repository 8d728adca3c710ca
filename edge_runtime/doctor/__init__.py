"""`edge-runtime doctor`: checks of this machine and of the installation."""
