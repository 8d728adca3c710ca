"""Run in a fresh process by the profiler: how long from its start to the first answer.

    python -m edge_runtime.coldstart STARTED_NS MODEL GALLERY PHOTO THREADS

STARTED_NS is `time.time_ns()` just before the process was made. Prints one JSON object.
"""

import time

_ENTERED_NS = time.time_ns()

import json  # noqa: E402
import sys  # noqa: E402


def main() -> None:
    """Do the path once, splitting the time."""
    started_ns, model, gallery_path, photo, threads = sys.argv[1:]
    marks = [("process", int(started_ns)), ("imports", _ENTERED_NS)]

    from edge_runtime.engine import open_engine
    from edge_runtime.gallery import Gallery
    from edge_runtime.memory import rss_bytes
    from edge_runtime.photo import read_photo
    from edge_runtime.pipeline import Pipeline

    memory = {"imports_rss_bytes": rss_bytes()}
    marks.append(("engine", time.time_ns()))
    engine = open_engine(model, threads=int(threads))
    memory["engine_rss_bytes"] = rss_bytes()
    marks.append(("gallery", time.time_ns()))
    gallery = Gallery(gallery_path, engine.model, read_only=True)
    marks.append(("first_result", time.time_ns()))
    Pipeline(engine, gallery).look(read_photo(photo))
    memory["first_result_rss_bytes"] = rss_bytes()
    ends = [*(begin for _, begin in marks[1:]), time.time_ns()]
    cold = {f"{name}_ms": (end - at) / 1e6 for (name, at), end in zip(marks, ends, strict=True)}
    cold["total_ms"] = (ends[-1] - marks[0][1]) / 1e6
    sys.stdout.write(json.dumps({"cold": cold, "memory": memory}))


if __name__ == "__main__":
    main()
