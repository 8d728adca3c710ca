"""A complete emulated board: Debian for arm64 with its own kernel and systemd, reached over ssh.

`make machine-test` creates its disk (`image`), boots it (`qemu`), and does what a user does with a
Raspberry Pi (`__main__`): deploy, inspect, unplug the camera, deploy again. Times on the board are
emulated and mean nothing.
"""
