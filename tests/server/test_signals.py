"""Signals as items of a queue."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from edge_runtime.system.signals import Signals


@pytest.fixture
def usr1() -> Iterator[Signals]:
    before = signal.getsignal(signal.SIGUSR1)
    yield Signals(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_signals_arrive_in_order_and_a_wait_ends(usr1: Signals) -> None:
    assert usr1.wait(0.01) is None
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    assert [usr1.wait(1), usr1.wait(1), usr1.wait(0.01)] == [signal.SIGUSR1, signal.SIGUSR1, None]


def test_signals_at_any_instant_of_a_wait_do_not_block(usr1: Signals) -> None:
    """With `threading.Event`, a signal during a wait could stop the program permanently."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGUSR1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
        arrived = sum(usr1.wait(1e-5) is not None for _ in range(20_000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert arrived > 0
