"""How well a camera sees what is to be enrolled, and which labels resemble it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.daemon.status import is_fresh
from edge_runtime.daemon.watcher import Observation, RegionWatcher
from edge_runtime.image.quality import photo_hint
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.types import QueryResult
from edge_runtime.web import schemas
from edge_runtime.web.access import refuse
from edge_runtime.web.endpoint import Endpoint, Role
from edge_runtime.web.openapi import CAMERA, REGION, operation, responses
from edge_runtime.web.routes.context import Context, Group, region_in

NEAREST = 3
"""Labels in an answer."""


class LookEndpoints(Group):
    """Measures frames only when asked, so that nothing is measured when nobody enrolls."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="look")
        self._thread.submit(int)  # starts the thread now, while it can be

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        look = operation(
            "How well the newest frame shows something, and which labels resemble it",
            responses((200, "The frame", schemas.LOOK), faults=(404, 503)),
            parameters=[CAMERA, REGION],
        )
        return [Endpoint("GET", "/api/look", self._look, look, Role.READER)]

    def close(self, wait_s: float) -> None:
        """See `Endpoints`."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self, request: Request) -> Response:
        region = region_in(request, self.context.service)
        latest = region.latest
        if latest is None or not is_fresh(self.context.service, region):
            return refuse(503, "the camera delivers no frames", "see /readyz")
        loop = asyncio.get_running_loop()
        return JSONResponse(await loop.run_in_executor(self._thread, self._measure, region, latest))

    def _measure(self, region: RegionWatcher, latest: Observation) -> dict[str, Any]:
        # The daemon's gallery belongs to its thread.
        limit = self.context.service.daemon.work_queue.run(
            lambda: _known_from(region.pipeline, latest.result.looks)
        )
        return {
            "hint": photo_hint(latest.picture.image),
            "nearest": nearest_labels(latest.result),
            "known_from": limit,
        }


def nearest_labels(result: QueryResult) -> list[dict[str, Any]]:
    """Return the labels most similar to a query, the best first."""
    if result.label_similarities is not None:
        return [
            {"label": one.label, "similarity": one.similarity, "distance": one.match.distance}
            for one in result.label_similarities[:NEAREST]
        ]
    nearest: dict[str, int] = {}
    for match in result.matches:
        nearest.setdefault(match.label, match.distance)
    return [
        {"label": label, "similarity": None, "distance": distance}
        for label, distance in list(nearest.items())[:NEAREST]
    ]


def _known_from(pipeline: Pipeline, looks: int) -> dict[str, float | None]:
    calibration = pipeline.gallery.calibration()
    if pipeline.radius is None and calibration is not None:
        return {
            "similarity": calibration.of_looks(looks).threshold(pipeline.false_name_rate),
            "distance": None,
        }
    radius = pipeline.engine.model.radius if pipeline.radius is None else pipeline.radius
    return {"similarity": None, "distance": radius}
