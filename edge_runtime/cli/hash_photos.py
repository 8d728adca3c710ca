"""`edge-runtime hash`. The module is not called hash, which would hide Python's function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import (
    allow_unverified_option,
    count_of,
    echo,
    json_option,
    log_to_stderr,
    print_json,
    print_message,
    terminable,
)
from edge_runtime.errors import InputError

if TYPE_CHECKING:
    from edge_runtime.batch.run import HashProgress, HashResult


@click.command("hash")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file of codes; the name ends in .jsonl or .npz. Beside it are a journal "
    "(.journal) and, if photos failed, the list of them (.failed.jsonl).",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes of this machine that hash, with one thread each.",
)
@click.option("--cluster", metavar="ADDRESS", help="Hash on this Dask cluster: tcp://HOST:8786.")
@click.option(
    "--send",
    is_flag=True,
    help="With --cluster: send the photos. By default the workers read them at the same paths.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="With --cluster: seconds to wait for a scheduler and workers that are not there.",
)
@click.option(
    "--label", help="The label of all photos.  [default: the name of the folder of each photo]"
)
@click.option("--views", is_flag=True, help="Hash six views of each photo, as enroll does.")
@click.option("--features", is_flag=True, help="Also store the network's features, as int8.")
@click.option(
    "--photo-limit",
    "photo_limit_s",
    type=click.FloatRange(0.5),
    default=150.0,
    show_default=True,
    help="Seconds until a photo counts as hanging.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The hash network: an ONNX file, or the folder of a compiled bundle.  "
    "[default: $EDGE_RUNTIME_MODEL, or the model that comes with the package]",
)
@allow_unverified_option
@json_option
@click.argument(
    "paths", nargs=-1, required=True, metavar="FOLDER | PHOTO...", type=click.Path(path_type=Path)
)
def command(
    out: Path,
    workers: int,
    cluster: str | None,
    send: bool,
    wait_s: float,
    label: str | None,
    views: bool,
    features: bool,
    photo_limit_s: float,
    model: Path | None,
    as_json: bool,
    paths: tuple[Path, ...],
) -> int:
    """Hash photos by the million, for other programs or for `gallery import`.

    The output contains each photo once, however many copies of it there are. If the command is
    ended in any way, the same command continues. A photo that was changed is hashed again. Photos
    that cannot be used are listed with the reason, and exit code 3.
    """
    if send and cluster is None:
        raise click.UsageError("--send requires --cluster")
    log_to_stderr()
    from edge_runtime.batch.cluster import ClusterOptions
    from edge_runtime.batch.run import HashOptions, hash_photos

    options = HashOptions(
        model=None if model is None else str(model),
        label=label,
        views=views,
        features=features,
        workers=workers,
        photo_limit_s=photo_limit_s,
        cluster=None if cluster is None else ClusterOptions(cluster, send, wait_s),
    )
    with terminable(), _display() as show:
        result = hash_photos(paths, out, options, show)
    if as_json:
        print_json(_as_json(result, out))
    else:
        echo(_summary(result, out))
    for fault in result.failures:
        print_message(f"edge-runtime: {fault}")
    if result.failed > len(result.failures):
        more = result.failed - len(result.failures)
        print_message(f"edge-runtime: {more} more in {result.failures_file}")
    return InputError.exit_code if result.failed else 0


@contextmanager
def _display() -> Iterator[Callable[[HashProgress], None]]:
    """Show the progress on stderr if it is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[notes]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("searching", total=None, notes="")

        def show(state: HashProgress) -> None:
            if state.total is None:
                bar.update(task, completed=state.photos)
                return
            speed = bar.tasks[0].speed
            notes = [] if not speed else [f"{speed:.1f} photos/s"]
            notes += [count_of(state.duplicates, "duplicate")] if state.duplicates else []
            notes += [f"{state.failed} failed"] if state.failed else []
            if bar.tasks[0].total is None:
                bar.reset(task, description="hashing", total=state.total, notes="")
            bar.update(task, completed=state.done, notes=", ".join(notes))

        yield show


def _summary(result: HashResult, out: Path) -> str:
    notes = [
        f"{result.hashed} hashed now",
        count_of(result.duplicates, "duplicate"),
        f"{result.failed} failed",
    ]
    counts = f"{count_of(result.codes, 'code')} of {count_of(result.photos, 'photo')}"
    return f"{out}: {counts} ({', '.join(notes)})"


def _as_json(result: HashResult, out: Path) -> dict[str, object]:
    return {
        "out": str(out),
        "photos": result.photos,
        "hashed": result.hashed,
        "digests": result.digests,
        "codes": result.codes,
        "duplicates": result.duplicates,
        "failed": result.failed,
        "failures": [
            {"photo": each.where, "what": each.what, "remedy": each.remedy}
            for each in result.failures
        ],
        "failures_file": None if result.failures_file is None else str(result.failures_file),
    }
