"""The process whose cold start the profiler measures, up to its first result.

    python -m edge_runtime.profiler.cold_start_child STARTED_NS MODEL GALLERY PHOTO THREADS

STARTED_NS is `time.time_ns()` just before the process was created. Prints one JSON object.
"""

import time

_ENTERED_NS = time.time_ns()

import json  # noqa: E402
import sys  # noqa: E402

from edge_runtime.profiler.process_memory import memory  # noqa: E402

QUERIES = 16
"""Number of further queries before the memory of the running process is read."""


def main() -> None:
    """Answer one query and time its parts. Reading the memory is not part of any time."""
    started_ns, model, gallery_path, photo, threads = sys.argv[1:]
    cold = {"process_ms": (_ENTERED_NS - int(started_ns)) / 1e6}
    phases = {"start": memory()}

    def end(name: str, phase: str, began_ns: int) -> int:
        cold[f"{name}_ms"] = (time.time_ns() - began_ns) / 1e6
        phases[phase] = memory()
        return time.time_ns()

    at_ns = time.time_ns()
    from edge_runtime.daemon import Daemon
    from edge_runtime.engine import open_engine
    from edge_runtime.gallery import Gallery
    from edge_runtime.image.decode import read_photo
    from edge_runtime.recognition.pipeline import Pipeline
    from edge_runtime.system.memory import peak_rss_bytes

    assert Daemon is not None  # imported for its cost: the daemon loads it
    at_ns = end("imports", "imports", at_ns)
    engine = open_engine(model, threads=int(threads))
    at_ns = end("engine", "engine", at_ns)
    gallery = Gallery(gallery_path, engine.model, read_only=True)
    at_ns = end("gallery", "gallery", at_ns)
    pipeline = Pipeline(engine, gallery)
    pipeline.query(read_photo(photo))
    end("first_result", "first_result", at_ns)
    for _ in range(QUERIES):
        pipeline.query(read_photo(photo))
    phases["run"] = memory()
    cold["total_ms"] = sum(cold.values())
    report = {"cold": cold, "phases": phases, "peak_rss_bytes": peak_rss_bytes()}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
