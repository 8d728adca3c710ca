"""A real board over ssh. Its folder for the run is removed however the run ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import IO, Any, NoReturn

from device_tests.devices.base import ROOT, Completed, Device, DeviceInfo
from device_tests.devices.lease_agent import MARK
from device_tests.devices.ssh import Connection, connection_error
from edge_runtime.errors import BoardLostError, BoardUnfitError, BoardUnreachableError

SILENCE_S = 60.0
"""Seconds without a sign of life after which the board cleans up by itself."""
RETURN_S = 90.0
"""Seconds to wait for a lost board to return, to find out whether it rebooted."""
INSTALL_S = 1800.0
REQUIRED_BYTES = 700_000_000
FIELDS = ("model", "machine", "cores", "system", "python")


class SshDevice(Device):
    """A board with Python 3.11 and venv that ssh reaches without a password."""

    def __init__(self, host: str, *, keep: bool = False, return_s: float = RETURN_S) -> None:
        """`keep`: leave the installed packages on the board for the next run.

        `return_s`: seconds to wait for a lost board.
        """
        self.name, self._keep, self._return_s = host, keep, return_s
        self._run = uuid.uuid4().hex[:12]
        self._ended = threading.Event()
        self._lost: BoardLostError | None = None
        self._lease_agent: subprocess.Popen[bytes] | None = None
        self._puts = 0

    def __enter__(self) -> SshDevice:
        """Connect and create the folder; raises `BoardUnreachableError` or `BoardUnfitError`."""
        self._connection = Connection(self.name)
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self) -> None:
        finder = (ROOT / "deploy" / "python.sh").read_text(encoding="utf-8")
        finder_run = self._connection.run(f"sh -c {shlex.quote(finder)}")
        if finder_run.returncode:
            raise BoardUnfitError(finder_run.stderr.strip().splitlines()[-1], where=self.name)
        self._system_python = finder_run.stdout.strip()
        agent = self._connection.open_session(
            self._agent_command("hold", self._run, f"{SILENCE_S:g}")
        )
        self._lease_agent = agent
        assert agent.stdin and agent.stdout and agent.stderr
        line = agent.stdout.readline()
        if not line:
            raise connection_error(self.name, agent.stderr.read().decode(errors="replace"))
        facts = json.loads(line)
        self.swept: list[str] = facts["swept"]
        self.folder, self._boot, self.emulated = facts["folder"], facts["boot"], facts["emulated"]
        self.info = DeviceInfo(
            **{name: facts[name] for name in FIELDS},
            features=tuple(facts["features"]),
            cameras=tuple(facts["cameras"]),
        )
        self._packages = f"{self.folder}/packages"
        if self._keep:
            self._packages = f"{Path(self.folder).parent}/packages"
        self._free_bytes = facts["free_bytes"]
        threading.Thread(target=self._beat, args=(agent.stdin,), daemon=True).start()

    def __exit__(self, *_: Any) -> None:
        """Close the agent's input and wait until it has cleaned up."""
        self._ended.set()
        if self._lease_agent:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._lease_agent.communicate(timeout=SILENCE_S)
            self._lease_agent.kill()
            self._lease_agent.communicate()
        self._connection.close()

    def _agent_command(self, *arguments: str) -> str:
        text = (Path(__file__).parent / "lease_agent.py").read_text(encoding="utf-8")
        return shlex.join([self._system_python, "-c", text, *arguments])

    def _beat(self, line: IO[bytes]) -> None:
        while not self._ended.wait(SILENCE_S / 6):
            try:
                line.write(b".")
                line.flush()
            except (OSError, ValueError):
                return

    def _run_remote(self, command: str, **options: Any) -> Completed:
        """Run a shell command in the folder on the board, marked as part of this run."""
        if self._lost:
            raise self._lost
        variables = {
            MARK: self._run,
            "TMPDIR": f"{self.folder}/tmp",
            "XDG_DATA_HOME": f"{self.folder}/data",
            "PIP_NO_CACHE_DIR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        try:
            done = self._connection.run(
                f"cd {shlex.quote(self.folder)} && export {exports} && {command}", **options
            )
        except BoardUnreachableError as error:
            self._raise_lost(error.what, error)
        assert self._lease_agent
        if self._lease_agent.poll() is not None:  # and it has removed the folder
            self._raise_lost("the lease agent on it has ended")
        return done

    def _raise_lost(self, why: str, error: BoardUnreachableError | None = None) -> NoReturn:
        """Find out why the board was lost, clean up if it is back, and raise `BoardLostError`."""
        self._ended.set()
        end_s = time.monotonic() + self._return_s
        boot = ""
        while not boot and time.monotonic() < end_s:
            try:
                boot = self._connection.run(
                    "cat /proc/sys/kernel/random/boot_id", limit_s=20
                ).stdout
            except BoardUnreachableError:
                time.sleep(1)
        if not boot:
            what, remedy = f"it was lost and has not come back: {why}", "check the board"
        elif boot.strip() != self._boot:
            what = "it rebooted during the run"
            remedy = "check power supply, heat and memory; on the board: journalctl -b -1 -e"
        else:
            what = f"the connection broke: {why}"
            remedy = "the board kept running; check its network"
        if boot:
            with contextlib.suppress(BoardUnreachableError):
                self._connection.run(self._agent_command("sweep"))
        self._lost = BoardLostError(what, where=self.name, remedy=remedy)
        raise self._lost from error

    def install(self) -> None:
        """Install as `make deploy` does, without the service; raises `BoardUnfitError`."""
        with tempfile.TemporaryDirectory(prefix="edge-parcel-") as folder:
            parcel = Path(folder) / "parcel"
            subprocess.run(["sh", ROOT / "deploy" / "parcel.sh", parcel], check=True)
            digest = hashlib.sha256((parcel / "requirements.txt").read_bytes()).hexdigest()[:12]
            place = self.put(parcel)
        environment = f"{self._packages}/{digest}"
        self._python = f"{environment}/bin/python"
        pip = f"{self._python} -m pip --disable-pip-version-check --no-input install --quiet"
        ready = self._run_remote(f"test -e {environment}/ready").returncode == 0
        if not ready and self._free_bytes < REQUIRED_BYTES:
            raise BoardUnfitError(
                f"{self._free_bytes / 1e6:.0f} MB are free, "
                f"{REQUIRED_BYTES / 1e6:.0f} MB are needed",
                where=self.name,
                remedy="free some space",
            )
        steps = [] if ready else [
            f"rm -rf {self._packages} && {self._system_python} -m venv {environment}",
            f"{pip} --require-hashes --only-binary :all: --requirement {place}/requirements.txt"
            f" && touch {environment}/ready",
        ]  # fmt: skip
        local = "--no-index --no-build-isolation --force-reinstall --no-deps"
        for step in [*steps, f"{pip} {local} {place}/source"]:
            done = self._run_remote(step, limit_s=INSTALL_S)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                raise BoardUnfitError(
                    f"the packages cannot be installed: {(lines or ['no message'])[-1]}",
                    where=self.name,
                    remedy="check that the board reaches a package index",
                )

    def put(self, path: Path) -> str:
        """Copy a file or folder to the board and return its path there."""
        self._puts += 1
        place = f"{self.folder}/{self._puts}"
        with tempfile.TemporaryFile() as parcel:
            archive = ["tar", "-C", str(path.resolve().parent), "-czf", "-", path.name]
            subprocess.run(archive, stdout=parcel, check=True)
            parcel.seek(0)
            done = self._run_remote(f"mkdir {place} && tar -C {place} -xzf -", source=parcel)
        if done.returncode:
            raise BoardUnfitError(
                f"{path.name} cannot be copied: {done.stderr.strip()}", where=self.name
            )
        return f"{place}/{path.name}"

    def get(self, remote: str, local: Path) -> None:
        """Copy the file `remote` from the board to `local`."""
        with local.open("wb") as sink:
            done = self._run_remote(f"cat {shlex.quote(remote)}", sink=sink)
        if done.returncode:
            local.unlink()
            raise FileNotFoundError(f"{self.name}:{remote}: {done.stderr.strip()}")

    def python(self, *arguments: str) -> Completed:
        """Run the Python in which the runtime is installed."""
        return self.program(self._python, *arguments)

    def program(self, *command: str) -> Completed:
        """Run a program on the board."""
        return self._run_remote(shlex.join(command))
