"""The daemon's status, from which the health checks, metrics and web page are built."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import __version__
from edge_runtime.camera.recovery import State
from edge_runtime.fleet.following.joined import last_status
from edge_runtime.system.helper_thread import ThreadState
from edge_runtime.system.memory import rss_bytes

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service
    from edge_runtime.daemon.watcher import CameraWatcher, RegionWatcher

STALL_LIMIT_S = 10.0
"""The main loop is stuck if an iteration takes longer. Normally one takes half a second at most."""


def status(service: Service) -> dict[str, Any]:
    """Return the status as plain values; may be called from any thread."""
    daemon = service.daemon
    now_s = time.monotonic()
    snapshot = service.snapshot
    iteration_age_s = now_s - daemon.last_iteration_s
    alive = iteration_age_s < STALL_LIMIT_S
    cameras = [_camera(service, each, now_s) for each in daemon.cameras]
    faults = [each["fault"] for each in cameras if each["state"] != State.RUNNING and each["fault"]]
    reading = service.thermal.reading
    gallery_fault = service.gallery_watch.fault
    gallery = daemon.cameras[0].regions[0].pipeline.gallery.path
    return {
        "version": __version__,
        "alive": alive,
        "ready": alive and not gallery_fault and any(each["fresh"] for each in cameras),
        "uptime_s": now_s - service.started_s,
        "turn_age_s": iteration_age_s,
        "frame_age_s": min(
            (each["frame_age_s"] for each in cameras if each["frame_age_s"] is not None),
            default=None,
        ),
        "last_error": gallery_fault or next(iter(faults), "") or daemon.last_error or None,
        "frames": daemon.frames,
        "faults": daemon.faults,
        "events": daemon.events,
        "cameras": cameras,
        "engine": {
            "name": service.engine.name,
            "reason": service.engine.reason,
            "threads": service.engine.threads,
        },
        "model": {
            "id": service.engine.model.id,
            "name": service.engine.model.name,
            "version": service.engine.model.version,
            "bits": service.engine.model.bits,
        },
        "gallery": {
            "path": str(gallery),
            "fault": gallery_fault or None,
            "generation": snapshot.generation.number,
            "codes": snapshot.count,
            "labels": len(snapshot.labels),
        },
        "sinks": {
            box.name: {
                **asdict(box.counts()),
                "last_error": box.last_error or box.sink.fault or None,
            }
            for box in service.outboxes
        },
        "threads": _threads(service),
        "board": {
            "name": service.board,
            "temperature_c": reading.temperature_c,
            "throttling": None if reading.throttling is None else list(reading.throttling),
            "slow": service.thermostat.slow,
        },
        "unknowns": _waiting(service),
        "server": service.server and service.server.status(),
        "fleet": _fleet(gallery),
        "rss_bytes": rss_bytes(),
    }


def _threads(service: Service) -> dict[str, dict[str, Any]]:
    """Return the states of the helper threads, and of those that read the cameras.

    The supervisor of a camera starts a new thread when the camera is opened again.
    """
    states = {thread.name: thread.state() for thread in service.threads}
    for watcher in service.daemon.cameras:
        recovery = watcher.camera.recovery
        states[f"capture-{watcher.name}"] = ThreadState(
            recovery.state is not State.STOPPED, recovery.restarts, recovery.fault or None
        )
    return {name: asdict(state) for name, state in states.items()}


def is_fresh(service: Service, region: RegionWatcher) -> bool:
    """Return whether frames of the region are being recognized."""
    if region.latest is None:
        return False
    name = region.origin.camera
    settings = service.cameras.settings_of(name)
    running = any(
        each.camera.state is State.RUNNING for each in service.daemon.cameras if each.name == name
    )
    age_s = time.monotonic() - region.latest.frame.captured_at_s
    return running and age_s < settings.next_frame_s + 2 / settings.fps


def _camera(service: Service, watcher: CameraWatcher, now_s: float) -> dict[str, Any]:
    camera, settings = watcher.camera, service.cameras.settings_of(watcher.name)
    recovery = camera.recovery
    regions = [_region(each, now_s) for each in watcher.regions]
    return {
        "name": watcher.name,
        "source": camera.source.name,
        "state": recovery.state.value,
        "state_s": now_s - recovery.since_s,
        "fresh": any(is_fresh(service, each) for each in watcher.regions),
        "frame_age_s": None if camera.last_frame_s is None else now_s - camera.last_frame_s,
        "fault": recovery.fault or None,
        "restarts": recovery.restarts,
        "dropped": camera.dropped,
        "damaged": camera.damaged,
        "skipped": camera.skipped,
        "hung": camera.hung_calls,
        "fps": settings.fps,
        "regions": regions,
    }


def _region(region: RegionWatcher, now_s: float) -> dict[str, Any]:
    latest, gate = region.latest, region.pipeline.gate
    current = region.decider.current
    nearest = latest.result.matches[:1] if latest else ()
    return {
        "name": region.origin.region,
        "area": region.area,
        "labels": None if region.labels is None else list(region.labels),
        "recognition": current
        and {
            "label": current.label,
            "confidence": current.confidence,
            "agreement": current.agreement,
            "since_s": now_s - current.since_s,
        },
        "age_s": None if latest is None else now_s - latest.frame.captured_at_s,
        "nearest": asdict(nearest[0]) if nearest else None,
        "gate": {
            "enabled": gate is not None,
            "hashed": gate.hashed if gate else region.frames,
            "unchanged": gate.unchanged if gate else 0,
        },
        "hash_ms": region.hash_ms,
        "stage_ms": {} if latest is None else dict(latest.result.stage_ms),
    }


def _fleet(gallery: Path) -> dict[str, Any] | None:
    """Return what the follower of the gallery reported last; None without a fleet.

    The follower is another process, which may end in the middle of anything.
    """
    last = last_status(gallery)
    counts = {key: last.get(key) for key in ("version", "newest", "pending")}
    if not isinstance(counts["version"], int):
        return None
    return {
        **{key: value if isinstance(value, int) else None for key, value in counts.items()},
        "ready": last.get("ready") is True,
        "last_error": str(last.get("error") or "") or None,
    }


def _waiting(service: Service) -> int | None:
    """Return the number of things that wait for a name; None if none are collected."""
    unknowns = service.unknowns
    return None if unknowns is None or unknowns.paused else unknowns.waiting
