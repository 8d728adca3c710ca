"""The progress display of a search: a bar with the best cost so far and the time left."""

from __future__ import annotations

import signal
from types import FrameType

from rich import progress
from rich.console import Console

from compile.codegen.workloads import Workload


class Progress:
    """A context manager that shows a bar on a terminal, and messages anywhere.

    Ctrl-C ends the search at the next trial at the latest. An interrupt that Python raises inside a
    callback from TVM or in a destructor would be lost otherwise. Use it on the main thread only.
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

    def log(self, text: str) -> None:
        """Print a message."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def trial(self, workload: Workload, count: int, best: float) -> None:
        """Show one trial (`compile.tuning.search.TrialCallback`).

        Raises KeyboardInterrupt if there was an interrupt since the last call.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        if self._task is None or workload.key != self._workload:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task("", total=self._trials)
            self._workload = workload.key
        text = f"{workload.key}  best {best:,.0f}"
        self._bar.update(self._task, completed=count, description=text)
