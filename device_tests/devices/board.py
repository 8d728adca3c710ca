"""A real board, over ssh: a folder of its own there, which goes away however the run ends."""

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

from device_tests.devices.base import ROOT, About, Device, Done
from device_tests.devices.lease_agent import MARK
from device_tests.devices.ssh import Connection, explained
from edge_runtime.errors import BoardLostError, BoardUnfitError, BoardUnreachableError

SILENCE_S = 60.0
"""So long the board waits for a sign of life before it cleans up by itself."""
RETURN_S = 90.0
"""So long we wait for a board that went away, to learn whether it rebooted."""
INSTALL_S = 1800.0
SMALLEST_BYTES = 700_000_000
FIELDS = ("model", "machine", "cores", "system", "python")


class SshDevice(Device):
    """A board that ssh reaches without a password, with Python 3.11 and venv; see `Device`."""

    def __init__(self, host: str, *, keep: bool = False, return_s: float = RETURN_S) -> None:
        """`keep`: leave the installed packages there for the next run."""
        self.name, self._keep, self._return_s = host, keep, return_s
        self._run = uuid.uuid4().hex[:12]
        self._ended = threading.Event()
        self._lost: BoardLostError | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._puts = 0

    def __enter__(self) -> SshDevice:
        """Raises `BoardUnreachableError` or `BoardUnfitError`."""
        self._line = Connection(self.name)
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self) -> None:
        finder = (ROOT / "deploy" / "python.sh").read_text(encoding="utf-8")
        found = self._line.run(f"sh -c {shlex.quote(finder)}")
        if found.returncode:
            raise BoardUnfitError(found.stderr.strip().splitlines()[-1], where=self.name)
        self._system_python = found.stdout.strip()
        keeper = self._line.hold(self._keeper_command("keep", self._run, f"{SILENCE_S:g}"))
        self._keeper = keeper
        assert keeper.stdin and keeper.stdout and keeper.stderr
        said = keeper.stdout.readline()
        if not said:
            raise explained(self.name, keeper.stderr.read().decode(errors="replace"))
        told = json.loads(said)
        self.swept: list[str] = told["swept"]
        self.folder, self._boot, self.emulated = told["folder"], told["boot"], told["emulated"]
        self.about = About(
            **{name: told[name] for name in FIELDS},
            features=tuple(told["features"]),
            cameras=tuple(told["cameras"]),
        )
        self._home = f"{self.folder}/kept" if not self._keep else f"{Path(self.folder).parent}/kept"
        self._free_bytes = told["free_bytes"]
        threading.Thread(target=self._beat, args=(keeper.stdin,), daemon=True).start()

    def __exit__(self, *_: Any) -> None:
        """The board cleans up when nobody speaks to it any more; we wait for that."""
        self._ended.set()
        if self._keeper:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.communicate(timeout=SILENCE_S)
            self._keeper.kill()
            self._keeper.communicate()
        self._line.close()

    def _keeper_command(self, *arguments: str) -> str:
        text = (Path(__file__).parent / "lease_agent.py").read_text(encoding="utf-8")
        return shlex.join([self._system_python, "-c", text, *arguments])

    def _beat(self, line: IO[bytes]) -> None:
        while not self._ended.wait(SILENCE_S / 6):
            try:
                line.write(b".")
                line.flush()
            except (OSError, ValueError):
                return

    def _there(self, command: str, **options: Any) -> Done:
        """Run a line of shell in the folder there, with the mark of this run."""
        if self._lost:
            raise self._lost
        variables = {
            MARK: self._run,
            "TMPDIR": f"{self.folder}/tmp",
            "XDG_DATA_HOME": f"{self.folder}/data",
            "PIP_NO_CACHE_DIR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        setting = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        try:
            done = self._line.run(
                f"cd {shlex.quote(self.folder)} && export {setting} && {command}", **options
            )
        except BoardUnreachableError as error:
            self._gone(error.what, error)
        assert self._keeper
        if self._keeper.poll() is not None:  # and with it the folder
            self._gone("the keeper of its folder has ended")
        return done

    def _gone(self, why: str, error: BoardUnreachableError | None = None) -> NoReturn:
        """It was there, and is no more: say what has happened, and clean up if it is back."""
        self._ended.set()
        end_s = time.monotonic() + self._return_s
        boot = ""
        while not boot and time.monotonic() < end_s:
            try:
                boot = self._line.run("cat /proc/sys/kernel/random/boot_id", limit_s=20).stdout
            except BoardUnreachableError:
                time.sleep(1)
        if not boot:
            what, remedy = f"it went away and has not come back: {why}", "look at it"
        elif boot.strip() != self._boot:
            what = "it rebooted in the middle of the run"
            remedy = "weak power supply, heat, memory? on the board: journalctl -b -1 -e"
        else:
            what = f"the line to it broke: {why}"
            remedy = "it went on itself; is its network steady?"
        if boot:
            with contextlib.suppress(BoardUnreachableError):
                self._line.run(self._keeper_command("sweep"))
        self._lost = BoardLostError(what, where=self.name, remedy=remedy)
        raise self._lost from error

    def install(self) -> None:
        """See `Device`: as `make deploy` does it, but for the service. Raises `BoardUnfitError`."""
        with tempfile.TemporaryDirectory(prefix="edge-parcel-") as folder:
            parcel = Path(folder) / "parcel"
            subprocess.run(["sh", ROOT / "deploy" / "parcel.sh", parcel], check=True)
            digest = hashlib.sha256((parcel / "requirements.txt").read_bytes()).hexdigest()[:12]
            place = self.put(parcel)
        environment = f"{self._home}/{digest}"
        self._python = f"{environment}/bin/python"
        pip = f"{self._python} -m pip --disable-pip-version-check --no-input install --quiet"
        ready = self._there(f"test -e {environment}/ready").returncode == 0
        if not ready and self._free_bytes < SMALLEST_BYTES:
            raise BoardUnfitError(
                f"{self._free_bytes / 1e6:.0f} MB are free, {SMALLEST_BYTES / 1e6:.0f} are needed",
                where=self.name,
                remedy="make room",
            )
        steps = [] if ready else [
            f"rm -rf {self._home} && {self._system_python} -m venv {environment}",
            f"{pip} --requirement {place}/requirements.txt && touch {environment}/ready",
        ]  # fmt: skip
        for step in [*steps, f"{pip} --force-reinstall --no-deps {place}/source"]:
            done = self._there(step, limit_s=INSTALL_S)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                raise BoardUnfitError(
                    f"the packages cannot be installed: {(lines or ['no message'])[-1]}",
                    where=self.name,
                    remedy="does it reach a package index?",
                )

    def put(self, path: Path) -> str:
        """See `Device`."""
        self._puts += 1
        place = f"{self.folder}/{self._puts}"
        with tempfile.TemporaryFile() as parcel:
            archive = ["tar", "-C", str(path.resolve().parent), "-czf", "-", path.name]
            subprocess.run(archive, stdout=parcel, check=True)
            parcel.seek(0)
            done = self._there(f"mkdir {place} && tar -C {place} -xzf -", source=parcel)
        if done.returncode:
            raise BoardUnfitError(
                f"{path.name} cannot be put there: {done.stderr.strip()}", where=self.name
            )
        return f"{place}/{path.name}"

    def get(self, place: str, to: Path) -> None:
        """See `Device`."""
        with to.open("wb") as sink:
            done = self._there(f"cat {shlex.quote(place)}", sink=sink)
        if done.returncode:
            to.unlink()
            raise FileNotFoundError(f"{self.name}:{place}: {done.stderr.strip()}")

    def python(self, *arguments: str) -> Done:
        """See `Device`."""
        return self.program(self._python, *arguments)

    def program(self, *command: str) -> Done:
        """See `Device`."""
        return self._there(shlex.join(command))
