"""Tests that run on the device itself: on a board over ssh, or on an emulated one."""
