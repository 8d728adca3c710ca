"""The connection to a Dask scheduler: found, checked, lost, and found again."""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.batch.remote import Description, close_idle, describe, description
from edge_runtime.batch.work import Setup
from edge_runtime.errors import EdgeRuntimeError, ExtraMissingError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

ANSWER_S = 10.0
"""Time in which the scheduler must answer."""
CHECK_S = 120.0
"""Time in which at least one worker must have described itself."""
PAUSE_S = 0.25
STATE_S = 2.0
"""How often the scheduler is asked for its workers."""


class Scheduler:
    """A scheduler with workers that can hash photos."""

    def __init__(
        self,
        address: str,
        wait_s: float,
        setup: Setup,
        paths: tuple[str, ...],
        photo_limit_s: float,
    ) -> None:
        """Connect, and check that the workers have this version and model and see `paths`.

        Raises `ExtraMissingError` without the package distributed, `ServiceError` if there is no
        such scheduler or worker for `wait_s`, and the error of a worker that has another model.
        """
        self.address = address
        self.threads: dict[str, int] = {}
        """Threads of each worker, by its address. None, if there are no workers for a while."""
        self._wait_s = wait_s
        self._describe = (setup, paths, photo_limit_s)
        self._client: Client | None = None
        self._asked_s = 0.0
        self._connect()

    def submit(
        self, function: Callable[..., Any], *arguments: object, workers: Sequence[str] = ()
    ) -> Future[Any]:
        """Submit a call, if possible to one of `workers`."""
        assert self._client is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the size of photos
            future: Future[Any] = self._client.submit(
                function,
                *arguments,
                pure=False,
                workers=list(workers) or None,
                allow_other_workers=bool(workers),
            )
        return future

    def at_work(self) -> dict[str, set[str]]:
        """Return the keys of the calls that each worker has; empty if that is unknown."""
        assert self._client is not None
        try:
            calls = self._client.sync(
                self._client.scheduler.processing, workers=None, callback_timeout=ANSWER_S
            )
        except OSError:
            return {}
        return {address: set(map(str, keys)) for address, keys in calls.items()}

    def lost(self) -> bool:
        """Return whether the connection was lost; then all calls are, too. Connects again.

        Raises the errors of the constructor.
        """
        assert self._client is not None
        now_s = time.monotonic()
        lost: bool = self._client.status != "running"
        if not lost and now_s - self._asked_s > STATE_S:
            self._asked_s = now_s
            try:
                self.threads = self._workers()
            except OSError:
                lost = True
        if lost:
            self._disconnect()
            self._connect()
        return lost

    def close(self) -> None:
        """End the idle processes on the workers, and disconnect."""
        if self._client is not None and self._client.status == "running":
            with suppress(Exception):  # only a courtesy
                self._on_each_worker(close_idle, (), 2.0)
        self._disconnect()

    def _connect(self) -> None:
        end_s = time.monotonic() + self._wait_s
        while True:
            try:
                self._client = _open(self.address, max(1.0, min(ANSWER_S, self._wait_s)))
                self.threads = self._workers()
                fault, remedy = "has no workers", f"start some: dask worker {self.address}"
                if self.threads and self._check():
                    return
            except OSError as error:  # TimeoutError and lost connections are, too
                fault, remedy = f"does not answer: {error}", "start it: dask scheduler"
            self._disconnect()
            if time.monotonic() > end_s:
                raise ServiceError(
                    f"the scheduler {fault}",
                    where=self.address,
                    remedy=f"{remedy}; what is hashed is kept",
                )
            time.sleep(PAUSE_S)

    def _workers(self) -> dict[str, int]:
        assert self._client is not None
        threads: dict[str, int] = self._client.sync(
            self._client.scheduler.ncores, workers=None, callback_timeout=ANSWER_S
        )
        return threads

    def _check(self) -> bool:
        """Check the workers that answer; return whether there are any."""
        mine = description()
        # A worker ends when it gets a call whose module it lacks, so it is asked for that first.
        probes = self._on_each_worker(import_module, (describe.__module__,), CHECK_S)
        for address, error in probes.items():
            if isinstance(error, Exception):
                raise ServiceError(
                    f"edge-runtime cannot be used on this worker: {error}",
                    where=address,
                    remedy=f"install version {mine.version} there",
                ) from error
        answers = self._on_each_worker(describe, self._describe, CHECK_S)
        for address, found in answers.items():
            if isinstance(found, EdgeRuntimeError):
                raise ServiceError(
                    f"this worker cannot start: {found.where}: {found.what}",
                    where=address,
                    remedy=found.remedy,
                ) from found
            if not isinstance(found, Description):
                raise ServiceError(
                    f"this worker or the scheduler cannot use edge-runtime: {found}",
                    where=address,
                    remedy=f"install version {mine.version} on all machines",
                )
            for what, theirs, ours in (
                ("edge-runtime", found.version, mine.version),
                ("OpenCV", found.opencv, mine.opencv),
            ):
                if theirs != ours:
                    raise ServiceError(
                        f"this worker has {what} {theirs}, and this machine {ours}",
                        where=address,
                        remedy="install the same versions on all machines",
                    )
            if found.missing:
                raise ServiceError(
                    f"this worker does not see {found.missing[0]}",
                    where=address,
                    remedy="mount it there at the same path, or use --send",
                )
        return bool(answers)

    def _on_each_worker(
        self, function: Callable[..., object], arguments: tuple[object, ...], limit_s: float
    ) -> dict[str, object]:
        """Return the result or the exception of each worker that answers within `limit_s`."""
        assert self._client is not None
        futures = {
            address: self._client.submit(
                function, *arguments, workers=[address], allow_other_workers=False, pure=False
            )
            for address in self.threads
        }
        end_s = time.monotonic() + limit_s
        while any(future.status == "pending" for future in futures.values()):
            if time.monotonic() > end_s:
                break
            time.sleep(0.02)
        found: dict[str, object] = {}
        for address, future in futures.items():
            if future.status == "error":
                found[address] = future.exception(timeout=ANSWER_S)
            elif future.status == "finished":
                found[address] = None
                if function is not import_module:  # a module cannot travel
                    found[address] = future.result(timeout=ANSWER_S)
        return found

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # it may have been lost in any way
                client.close(timeout=2)


def _open(address: str, wait_s: float) -> Client:
    """Connect to the scheduler; raises OSError and `ServiceError`."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ExtraMissingError(
            f"distributed cannot be imported: {error}",
            where="--cluster",
            remedy="pip install edge-runtime[batch]",
        ) from error
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in ("distributed", "tornado"):  # what is lost is reported here
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions of packages that are not used here
            return Client(address, timeout=wait_s, set_as_default=False)
    except ValueError as error:
        raise ServiceError(
            f"not an address of a scheduler: {error}",
            where=address,
            remedy="use one such as tcp://host:8786",
        ) from error
