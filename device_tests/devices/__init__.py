"""Devices under test: an emulated CPU, or a board over ssh."""
