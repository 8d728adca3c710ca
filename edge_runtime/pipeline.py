"""The path: frame -> fit -> hash -> pack -> lookup -> decide.

The same code for the daemon, a single query, enrolment, the profiler and evaluation.
"""

from __future__ import annotations

from edge_runtime.code import Code
from edge_runtime.decision import NEIGHBOURS, vote
from edge_runtime.engine import Engine
from edge_runtime.fit import Image, fit
from edge_runtime.gallery import Gallery
from edge_runtime.stopwatch import Lap, Stopwatch, no_lap
from edge_runtime.types import Result


def code_of(engine: Engine, image: Image, lap: Lap = no_lap) -> Code:
    """The packed code (uint64 [W]) of a picture of any size (uint8 H x W x 3, BGR)."""
    square = fit(image, engine.model.input.size)
    lap("fit")
    return engine.hash(square, lap)


class Pipeline:
    """An engine and a gallery, joined."""

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        *,
        neighbours: int = NEIGHBOURS,
        radius: int | None = None,
    ) -> None:
        """`radius`: bits within which a neighbour counts as known; None: as the model says."""
        self.engine = engine
        self.gallery = gallery
        self.neighbours = neighbours
        self.radius = engine.model.radius if radius is None else radius

    def look(self, image: Image) -> Result:
        """Everything about one picture (uint8 H x W x 3, BGR): neighbours, verdict, stage times."""
        watch = Stopwatch()
        code = code_of(self.engine, image, watch.lap)
        matches = self.gallery.search(code, self.neighbours)
        watch.lap("lookup")
        verdict = vote(matches, self.radius)
        watch.lap("decide")
        return Result(verdict, matches, watch.stage_ms)
