"""What a person sees while a search runs: a bar with the best so far and the time left."""

from __future__ import annotations

import signal
from types import FrameType

from rich import progress
from rich.console import Console

from compile.codegen.plan import Workload


class Progress:
    """A context manager; silent where nobody watches, but for `tell`.

    Ctrl-C ends what it watches at the next trial at the latest: an interrupt that Python raises
    while TVM calls it back, or while it frees something, would be lost. For the main thread.
    """

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
        self._interrupted = False

    def __enter__(self) -> Progress:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def tell(self, text: str) -> None:
        """A line of talk."""
        self._console.print(text, highlight=False)

    def trial(self, workload: Workload, count: int, best: float) -> None:
        """See `compile.tuning.search.Told`; raises KeyboardInterrupt if there was one."""
        if self._interrupted:
            raise KeyboardInterrupt
        if self._task is None or workload.key != self._workload:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task("", total=self._trials)
            self._workload = workload.key
        text = f"{workload.key}  best {best:,.0f}"
        self._bar.update(self._task, completed=count, description=text)
