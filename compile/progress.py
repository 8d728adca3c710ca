"""What a person sees while a search runs: a bar with the best so far and the time left."""

from __future__ import annotations

from types import TracebackType

from rich import progress
from rich.console import Console

from compile.plan import Workload


class Progress:
    """A context manager; silent where nobody watches, but for `tell`."""

    def __init__(self, trials: int) -> None:
        self._console = Console(stderr=True)
        self._bar = progress.Progress(
            "{task.description}",
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._trials = trials
        self._task: progress.TaskID | None = None
        self._workload = ""

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def tell(self, text: str) -> None:
        """A line of talk."""
        self._console.print(text, highlight=False)

    def trial(self, workload: Workload, count: int, best: float) -> None:
        """See `compile.search.Told`."""
        if self._task is None or workload.key != self._workload:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task("", total=self._trials)
            self._workload = workload.key
        text = f"{workload.key}  best {best:,.0f}"
        self._bar.update(self._task, completed=count, description=text)
