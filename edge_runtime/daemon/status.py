"""The daemon's status, from which the health checks, metrics and web page are built."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_runtime import __version__
from edge_runtime.camera.recovery import State
from edge_runtime.system.memory import rss_bytes

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

STALL_LIMIT_S = 10.0
"""The main loop is stuck if an iteration takes longer. Normally one takes half a second at most."""


def status(service: Service) -> dict[str, Any]:
    """Return the status as plain values; may be called from any thread."""
    daemon, camera = service.daemon, service.daemon.camera
    now_s = time.monotonic()
    latest, recovery = service.latest, camera.recovery
    snapshot = service.snapshot
    gate = daemon.pipeline.gate
    iteration_age_s = now_s - daemon.last_iteration_s
    frame_age_s = None if camera.last_frame_s is None else now_s - camera.last_frame_s
    result_age_s = None if latest is None else now_s - latest.frame.captured_at_s
    alive = iteration_age_s < STALL_LIMIT_S
    limit_s = service.settings.camera.next_frame_s + 2 / service.settings.camera.fps
    fresh = result_age_s is not None and result_age_s < limit_s
    reading = service.thermal.reading
    return {
        "version": __version__,
        "alive": alive,
        "ready": alive and fresh and recovery.state is State.RUNNING,
        "uptime_s": now_s - service.started_s,
        "turn_age_s": iteration_age_s,
        "frame_age_s": frame_age_s,
        "last_error": daemon.last_error or recovery.fault or None,
        "frames": daemon.frames,
        "faults": daemon.faults,
        "events": daemon.events,
        "recognition": None
        if latest is None or latest.recognition is None
        else asdict(latest.recognition),
        "camera": {
            "name": camera.source.name,
            "state": recovery.state.value,
            "state_s": now_s - recovery.since_s,
            "fault": recovery.fault or None,
            "restarts": recovery.restarts,
            "dropped": camera.dropped,
            "damaged": camera.damaged,
            "skipped": camera.skipped,
            "hung": camera.hung_calls,
            "fps": service.settings.camera.fps,
        },
        "gate": {
            "enabled": gate is not None,
            "hashed": gate.hashed if gate else daemon.frames,
            "unchanged": gate.unchanged if gate else 0,
        },
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
            "path": str(daemon.pipeline.gallery.path),
            "generation": snapshot.generation.number,
            "codes": snapshot.count,
            "labels": len(snapshot.labels),
        },
        "sinks": {
            box.name: {**asdict(box.counts()), "last_error": box.last_error or None}
            for box in service.outboxes
        },
        "threads": {thread.name: asdict(thread.state()) for thread in service.threads},
        "board": {
            "temperature_c": reading.temperature_c,
            "throttling": None if reading.throttling is None else list(reading.throttling),
            "slow": service.thermostat.slow,
        },
        "stage_ms": {} if latest is None else dict(latest.result.stage_ms),
        "rss_bytes": rss_bytes(),
    }
