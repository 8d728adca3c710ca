"""A whole emulated board: Debian for arm64 under its own kernel and systemd, behind ssh.

`make machine-test` makes its disk (`image`), boots it (`qemu`), and does with it what a user does
with a Raspberry Pi (`__main__`): deploy, look, pull the camera, deploy again. Times on it are
emulated and mean nothing.
"""
