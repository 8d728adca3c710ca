"""Programs and servers that print without end, hang, or leave something behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import SinkError
from edge_runtime.sinks import Outbox, child
from edge_runtime.sinks.command import CommandSink
from edge_runtime.sinks.deadline import Attempt
from edge_runtime.sinks.webhook import WebhookSink
from edge_runtime.system.memory import rss_bytes
from tests.support.events import make_event

LIMIT_S = 30.0
"""No test waits longer, and no assertion is about a shorter time."""


def _until(condition: Callable[[], Any]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, "timed out"
        time.sleep(0.02)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _python(script: str) -> list[str]:
    return [sys.executable, "-S", "-c", script]


# -- exec -----------------------------------------------------------------------------------------


def test_a_flood_of_messages_takes_no_memory() -> None:
    flood = "import os\nb = b'x' * 65536\nfor _ in range(3200): os.write(2, b)\n"
    before = rss_bytes()
    with pytest.raises(SinkError, match="code 3: the last line"):
        end = "os.write(2, b'\\nthe last line\\n'); raise SystemExit(3)"
        CommandSink(_python(flood + end), timeout_s=60).publish(make_event())
    assert rss_bytes() - before < 50 << 20  # of 200 MB


def test_an_endless_flood_ends_at_the_timeout() -> None:
    with pytest.raises(SinkError, match=r"killed after 0\.5 s") as caught:
        CommandSink(["sh", "-c", "yes >&2"], timeout_s=0.5).publish(make_event())
    assert not caught.value.retry


def test_a_child_that_keeps_stderr_open_does_not_stop_the_delivery(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"setsid sleep 300 & echo $! >> {pids}; sleep 300 & echo $! >> {pids}"
    box = Outbox(CommandSink(["sh", "-c", script], timeout_s=120))
    for number in range(3):
        box.publish(make_event(number))
    try:
        _until(lambda: box.counts().delivered == 3)
    finally:
        box.close()
        for pid in pids.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    assert box.last_error == ""


def test_the_whole_process_group_is_killed_at_the_timeout(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
    with pytest.raises(SinkError, match="killed after"):
        CommandSink(["sh", "-c", script], timeout_s=3).publish(make_event())
    pid = int(pid_file.read_text())
    _until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return "(sleep) Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_program_that_reads_nothing_or_all(tmp_path: Path) -> None:
    CommandSink(["true"]).publish(make_event(label="x" * 100_000))
    out = tmp_path / "out"
    CommandSink(["sh", "-c", f"sleep 0.2; cat > {out}"]).publish(make_event(label="y" * 100_000))
    assert out.read_text().count("y") >= 100_000


def test_messages_without_control_characters() -> None:
    with pytest.raises(SinkError) as caught:
        CommandSink(["sh", "-c", "printf 'a\\033[2Jb' >&2; exit 1"]).publish(make_event())
    assert str(caught.value).isprintable()


def test_a_kernel_that_cannot_announce_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    CommandSink(["true"]).publish(make_event())
    with pytest.raises(SinkError, match="code 1"):
        CommandSink(["false"]).publish(make_event())


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_is_retried(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [OSError(number, os.strerror(number))] * 2
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop()
        return popen(*arguments, **options)

    monkeypatch.setattr(child.subprocess, "Popen", start)  # type: ignore[attr-defined]
    box = Outbox(CommandSink(["true"]), shortest_s=0.01)
    box.publish(make_event())
    _until(lambda: not box.counts().waiting)
    box.close()
    assert (box.counts().delivered, box.counts().failed) == (1, 0)


def test_descriptors_are_closed() -> None:
    sink = CommandSink(["true"])
    sink.publish(make_event())
    before = _descriptors()
    for _ in range(5):
        sink.publish(make_event())
    assert _descriptors() == before


# -- webhook --------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start a server that passes each connection to a function; return its URL."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    servers: list[socket.socket] = []

    def start(answer: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(0.1)
        servers.append(server)

        def loop() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    continue
                with connection:
                    try:
                        connection.settimeout(0.1)
                        answer(connection)
                    except OSError:
                        pass

        threads.append(threading.Thread(target=loop, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

    yield start
    stop.set()
    for thread in threads:
        thread.join(LIMIT_S)
    for server in servers:
        server.close()


def _drip(first: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        end_s = time.monotonic() + 2 * LIMIT_S
        while time.monotonic() < end_s:
            connection.sendall(b"x")
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 2"])
def test_a_server_that_drips_its_answer(serve: Any, first: bytes) -> None:
    began_s = time.monotonic()
    with pytest.raises(SinkError, match=r"no complete response within 0\.6 s") as caught:
        WebhookSink(serve(_drip(first)), timeout_s=0.6).publish(make_event())
    assert caught.value.retry
    assert time.monotonic() - began_s < LIMIT_S


def test_a_body_that_drips_after_the_event_was_accepted(serve: Any) -> None:
    began_s = time.monotonic()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"
    WebhookSink(serve(_drip(head)), timeout_s=2.0).publish(make_event())
    assert time.monotonic() - began_s < LIMIT_S


def test_a_server_that_never_answers_the_handshake(serve: Any) -> None:
    url = serve(_drip(b"\x16\x03\x03\x3f\xff")).replace("http://", "https://")
    with pytest.raises(SinkError, match=r"webhook 127.*(within 0\.6 s|no response)"):
        WebhookSink(url, timeout_s=0.6).publish(make_event())


def test_a_name_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    release, calls = threading.Event(), list[object]()

    def hang(*arguments: object) -> list[object]:
        calls.append(arguments)
        release.wait(2 * LIMIT_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(Attempt, "_lookup", None)
    sink = WebhookSink("http://broker.invalid/", timeout_s=0.3)
    began_s = time.monotonic()
    for _ in range(3):
        with pytest.raises(SinkError, match=r"does not answer|within 0\.3 s"):
            sink.publish(make_event())
    assert time.monotonic() - began_s < LIMIT_S
    assert len(calls) == 1  # one thread, however many attempts
    release.set()


def test_a_webhook_leaves_no_descriptor(serve: Any) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    sink = WebhookSink(serve(answer), timeout_s=LIMIT_S)
    sink.publish(make_event())
    before = _descriptors()
    for _ in range(5):
        sink.publish(make_event())
    assert _descriptors() <= before + 1  # the server may still hold one
