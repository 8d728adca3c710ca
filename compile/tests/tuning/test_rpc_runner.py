"""The runner for boards, with TVM's own RPC server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compile.build import make_runner
from compile.codegen.workloads import workloads
from compile.frontend.onnx_importer import read_network
from compile.target.description import Target
from compile.tuning.database import Records
from compile.tuning.rpc_runner import RpcRunner
from compile.tuning.search import search
from compile.tuning.search_space import space
from edge_runtime.errors import CompileError

HOST = "127.0.0.1"


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A real RPC server in its own process group, and its port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", HOST, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--port-end", str(port + 1)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            assert process.poll() is None, "the server did not start"
            time.sleep(0.1)
        yield process, port
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_search_whose_board_disconnects(
    server: tuple[subprocess.Popen[bytes], int], small_model: Path, host: Target, tmp_path: Path
) -> None:
    process, port = server
    work = workloads(read_network(small_model))[2]
    runner = make_runner(f"rpc:{HOST}:{port}", host)
    assert runner.cost(work.shape, space(work.shape, host.vector)[0]) > 0
    records = Records(tmp_path / "r.json")
    trials: list[int] = []

    def on_trial(*_: object) -> None:
        trials.append(1)
        if len(trials) == 2:
            stop(process)

    with pytest.raises(CompileError, match=r"rpc:127.*the connection to the board was lost"):
        search(work, runner, records, 50, on_trial)
    saved = Records(tmp_path / "r.json").get(work)
    assert saved is not None and saved.unit == "us"


def test_a_board_that_hangs_or_serves_another_client(
    server: tuple[subprocess.Popen[bytes], int],
    small_model: Path,
    host: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, port = server
    shape = workloads(read_network(small_model))[2].shape
    runner = make_runner(f"rpc:{HOST}:{port}", host)
    monkeypatch.setattr("compile.tuning.rpc_runner.ANSWER_S", 2.0)
    with pytest.raises(CompileError, match=r"no RPC server answers: no answer within 2 s"):
        make_runner(f"rpc:{HOST}:{port}", host)
    os.killpg(process.pid, signal.SIGSTOP)
    with pytest.raises(
        CompileError, match=r"rpc:127.*the connection to the board was lost: no answer within 2 s"
    ):
        runner.cost(shape, space(shape, host.vector)[0])


def test_no_server(host: Target) -> None:
    with pytest.raises(CompileError, match=r"rpc_server --host 0.0.0.0 --port 1"):
        RpcRunner(host, f"{HOST}:1")
    with pytest.raises(CompileError, match="RUNNER=rpc:HOST:PORT"):
        RpcRunner(host, "board")
