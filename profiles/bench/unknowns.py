"""Measure how pure the groups of the inbox are, and what collecting costs the daemon.

    python -m profiles.bench.unknowns groups FOLDER [--most N] [--alike A]...
    python -m profiles.bench.unknowns cost

`groups`: FOLDER has one sub-folder of photos per thing. Each photo is one sighting, in random
order: as it is, and pasted before what one or two cameras show, with the empty scene in between. A
group counts from two sightings on. Purity is the share of sightings that are of their group's most
frequent thing; the empty scenes are counted apart.

`cost`: CPU and memory of the daemon with a film of scenes that change, without and with [unknowns].
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np

from demo.scenes import SCENES as DEMO
from demo.scenes import read_scene
from edge_runtime.engine import Engine, open_engine
from edge_runtime.fitting.quantized import Floats
from edge_runtime.image import Image
from edge_runtime.image.decode import find_photos, read_photo
from edge_runtime.recognition.pipeline import embedding_of
from edge_runtime.unknowns import clusters as tuned
from edge_runtime.unknowns.clusters import Clusters
from edge_runtime.unknowns.sightings import vector_of
from profiles.bench.support.harness import add_noise, running_daemon, tripod_frames, write_video

SCENES = ("motorcycle_right.png", "coffee.png")
"""What the cameras show."""
EMPTY = "empty scene of "
ROUNDS = 3
"""Random orders whose results are averaged."""
WARM_S, RUN_S = 15.0, 60.0
Seen = tuple[str, str, Floats]
"""Camera, thing and features of a sighting."""


def sightings(
    engine: Engine, photos: dict[str, list[Image]], cameras: int, *, codes: bool
) -> Iterator[list[Seen]]:
    """Yield what is seen one after the other: a photo, or with cameras an empty scene before it."""
    random = np.random.default_rng(1)

    def seen(camera: str, thing: str, image: Image) -> Seen:
        embedding = embedding_of(engine, image)
        if codes:
            embedding = type(embedding)(embedding.code, None)
        return camera, thing, vector_of(embedding, engine.model.bits)

    number = 0
    for thing, images in photos.items():
        for image in images:
            if not cameras:
                yield [seen("", thing, image)]
                continue
            scene = SCENES[number % cameras]
            number += 1
            wall = np.asarray(cv2.resize(read_scene(scene), (640, 480)), np.uint8)
            shown = wall.copy()
            width = min(440, round(image.shape[1] * 300 / image.shape[0]))
            top, left = random.integers(40, 140), random.integers(0, 640 - width)
            shown[top : top + 300, left : left + width] = cv2.resize(image, (width, 300))
            yield [
                seen(scene, EMPTY + scene, add_noise(wall, random)),
                seen(scene, thing, add_noise(shown, random)),
            ]


def judge(stream: list[list[Seen]], seed: int) -> dict[str, float]:
    """Group the sightings in a random order; return the measures."""
    order = np.random.default_rng(seed).permutation(len(stream))
    clusters = Clusters(len(stream[0][0][2]))
    groups: dict[int, list[str]] = defaultdict(list)
    for place in order:
        for camera, thing, vector in stream[place]:
            found, _ = clusters.nearest(vector, camera)
            group = len(groups) if found is None else found
            clusters.add(vector, camera, group)
            groups[group].append(thing)
    things = {thing for one in stream for _, thing, _ in one if not thing.startswith(EMPTY)}
    shown = [Counter(names) for names in groups.values() if len(names) > 1]
    owners = Counter(names.most_common(1)[0][0] for names in shown)
    right = total = 0
    for names in shown:
        owner = names.most_common(1)[0][0]
        for name, count in names.items():
            if not name.startswith(EMPTY):
                right, total = right + count * (name == owner), total + count
    of_things = {name: count for name, count in owners.items() if not name.startswith(EMPTY)}
    return {
        "purity": right / max(total, 1),
        "groups per thing": sum(of_things.values()) / max(len(of_things), 1),
        "things found": len(of_things) / len(things),
        "empty groups": float(sum(owners.values()) - sum(of_things.values())),
    }


@click.group()
def main() -> None:
    """Measure the inbox of unknown things."""


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--most", default=8, help="Photos per thing.")
@click.option("--alike", "limits", type=float, multiple=True, help="In place of the limit in use.")
def groups(folder: Path, most: int, limits: tuple[float, ...]) -> None:
    """Print one line per way to see the photos."""
    engine = open_engine()
    photos: dict[str, list[Image]] = defaultdict(list)
    for path in find_photos(folder):
        if len(photos[path.parent.name]) < most:
            photos[path.parent.name].append(read_photo(path))
    kinds = [("photos", 0, False), ("one camera", 1, False), ("two cameras", 2, False)]
    click.echo(f"{len(photos)} things, {sum(map(len, photos.values()))} photos")
    for name, cameras, codes in [*kinds, ("photos, by code", 0, True)]:
        stream = list(sightings(engine, photos, cameras, codes=codes))
        for limit in limits or (tuned.ALIKE,):
            tuned.ALIKE = limit
            rounds = [judge(stream, seed) for seed in range(ROUNDS)]
            means = {key: np.mean([one[key] for one in rounds]) for key in rounds[0]}
            figures = ", ".join(f"{key} {value:.2f}" for key, value in means.items())
            click.echo(f"{name:16} alike {limit:.2f}: {figures}")


@main.command()
def cost() -> None:
    """Print CPU and memory of the daemon without and with the inbox."""
    names = tuple(scene.photo for scene in DEMO if scene.label is None)
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        film = Path(folder) / "film.mp4"
        write_video(film, tripod_frames(30, names, moving=10), (640, 480), 10)
        camera = f'[camera]\nsource = "{film}"\nloop = true\nreal_time = true\n'
        for table in ("", "[unknowns]\nleast = 1\n"):
            config = 'gallery.path = "g.sqlite"\noutput.format = "json"\n'
            config += f"[http]\nport = 0\n{camera}{table}"
            with running_daemon(config) as daemon:
                time.sleep(WARM_S)
                cpu_s, at_s = daemon.cpu_s(), time.monotonic()
                time.sleep(RUN_S)
                percent = 100 * (daemon.cpu_s() - cpu_s) / (time.monotonic() - at_s)
                rss_mb = daemon.process.memory_info().rss / 1e6
                waiting = daemon.status()["unknowns"]
            click.echo(
                f"{'with' if table else 'without'} [unknowns]: {percent:.1f} % of a core, "
                f"{rss_mb:.1f} MB, {waiting or 0} things in the inbox"
            )


if __name__ == "__main__":
    main()
