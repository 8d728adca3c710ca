"""Add, rename and remove cameras in the configuration file, for the page.

A file with one camera may say [camera]. As soon as the camera gets a name or company, the table
becomes [cameras.NAME], with all that is written in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.errors import ConfigError, ConfigLockedError
from edge_runtime.settings.schema import ONLY_CAMERA, Settings

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
MOST_CAMERAS = 16


@dataclass
class CameraEdit:
    """What to do with the file: first renames of tables, then changes as of `editable.checked`."""

    renames: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)


def adding(settings: Settings, overridden: frozenset[str], name: str, source: str) -> CameraEdit:
    """Return the edit that adds a camera; raises `ConfigError`."""
    _check_new(settings, name)
    if len(settings.all_cameras()) >= MOST_CAMERAS:
        raise ConfigError(f"there are {MOST_CAMERAS} cameras already", where="cameras")
    edit = CameraEdit()
    if not settings.cameras:
        _check_plain(overridden)
        edit.renames.append((("camera",), ("cameras", ONLY_CAMERA)))
    (only, *others) = settings.all_cameras()
    if not others:  # with several, each region says whose it is
        for region, each in settings.regions.items():
            if not each.camera:
                edit.changes[f"regions.{region}.camera"] = only
    edit.changes[f"cameras.{name}.source"] = source
    return edit


def renaming(settings: Settings, overridden: frozenset[str], old: str, new: str) -> CameraEdit:
    """Return the edit that gives a camera another name; raises `ConfigError`."""
    _check_known(settings, old)
    _check_new(settings, new)
    edit = CameraEdit()
    if settings.cameras:
        edit.renames.append((("cameras", old), ("cameras", new)))
    else:
        _check_plain(overridden)
        edit.renames.append((("camera",), ("cameras", new)))
    for region, each in settings.regions.items():
        if each.camera == old:
            edit.changes[f"regions.{region}.camera"] = new
    return edit


def removing(settings: Settings, name: str) -> CameraEdit:
    """Return the edit that removes a camera with its regions; raises `ConfigError`."""
    _check_known(settings, name)
    if len(settings.all_cameras()) == 1:
        raise ConfigError(
            "the last camera cannot be removed",
            where=f"cameras.{name}",
            remedy="choose another source for it",
        )
    edit = CameraEdit(changes={f"cameras.{name}": None})
    for region, each in settings.regions.items():
        if each.camera == name:
            edit.changes[f"regions.{region}"] = None
    return edit


def _check_known(settings: Settings, name: str) -> None:
    if name not in settings.all_cameras():
        raise ConfigError(
            f"there is no camera {name!a:.40}",
            remedy=f"name one of {', '.join(settings.all_cameras())}",
        )


def _check_new(settings: Settings, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!a:.40} is not a name for a camera",
            remedy="use 1 to 32 letters, digits, - and _",
        )
    if name in settings.all_cameras():
        raise ConfigError("a camera with this name exists already", where=f"cameras.{name}")


def _check_plain(overridden: frozenset[str]) -> None:
    """Raise `ConfigLockedError` if the command line replaces keys of [camera]."""
    for key in sorted(overridden):
        if key.startswith("camera."):
            raise ConfigLockedError(
                "an option on the daemon's command line sets this",
                where=key,
                remedy="write the camera into the file, and start the daemon without the option",
            )
