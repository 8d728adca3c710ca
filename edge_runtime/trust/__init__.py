"""Which models may be used: signatures by the owner's keys, checked before anything is loaded.

`store` reads the installed keys, `signature` verifies and signs with OpenSSH, `memory` keeps
private copies of what was checked, `manifest` reads the manifest of a bundle, and `files` decides
whether a file may be used. docs/SIGNING.md describes the keys.
"""
