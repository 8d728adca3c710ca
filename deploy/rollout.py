"""Install a model that the fleet rolled out, on trial: a rollback leads to the release before it.

    python3 -I rollout.py [--spool FOLDER]

Runs on the board as root, started by edge-runtime-rollout.path, with the system's Python and
nothing but its standard library. `edge-runtime fleet follow`, as the user of the service, leaves a
request and an archive in the spool folder. Nothing there is trusted: both are copied once, and the
copy is checked. The new release is the current one with another folder `model`:

    SPOOL/request.json  SPOOL/ID.tar   what is wanted; the user of the service may write there
    PREFIX/rollout.json                what became of it; only root may write it
    PREFIX/releases/NAME/gallery.sqlite -> the gallery of the release's model

It goes through the steps of release.py: sealed, on trial, confirmed once it is ready, otherwise
reverted. Each release leads to the gallery of its own model, so `current` switches both at once and
a rollback converts nothing. Safe to repeat: whatever a power cut left starts over.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

sys.path.insert(
    0, str(Path(__file__).resolve().parent)
)  # -I leaves it out; root alone writes there

if TYPE_CHECKING:  # the oldest system Python of a board has none
    from typing import Self

import release
from release import GALLERY, UNIT, Board, ReleaseError, log, write_durably

REQUEST, RECORD, MANIFEST = "request.json", "rollout.json", "manifest.json"
KEEP = 3
"""How many confirmed releases stay on the board, as after `make deploy`."""
TRIES = 3
"""How often an installation may be cut short before it counts as failed."""
MOST_BYTES = 1 << 30
"""Largest archive, and largest content of one."""
MOST_FILES = 64
MEGABYTE = 1_000_000
READY_S = float(os.environ.get("READY_S", "60"))
STEADY_S = float(os.environ.get("STEADY_S", "5"))
TRUST = Path(os.environ.get("EDGE_RUNTIME_TRUST", "/etc/edge-runtime"))
_PATTERNS = {
    "id": re.compile(r"[0-9a-f]{12,64}"),
    "action": re.compile(r"install|back"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "gallery": re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.sqlite)?"),
}
_MEMBER = re.compile(r"model/([A-Za-z0-9_-][A-Za-z0-9._-]{0,120})")


class RefusedError(ReleaseError):
    """The request or what it names cannot be used; trying again would not help."""


class _Plain(tarfile.TarInfo):
    """Refuses all but plain files, before tarfile reads what other headers announce into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
            raise RefusedError(f"the archive has an entry that no bundle has: {member.name!a}")
        return member


@dataclass(frozen=True)
class Request:
    """What the follower asks for."""

    id: str
    attempt: int
    action: str
    sha256: str = "0" * 64
    bytes: int = 0
    gallery: str = ""
    """The file of the new model's gallery, beside the present one; empty: the present one."""


@dataclass
class Record:
    """What became of a request, in PREFIX/rollout.json."""

    id: str = ""
    attempt: int = 0
    action: str = ""
    state: str = ""
    """working, ready, failed, or back."""
    why: str = ""
    release: str = ""
    """The release that was installed."""
    tries: int = 0
    time: float = 0.0
    """When the state began, seconds since 1970 by the board's clock."""

    def answers(self, request: Request) -> bool:
        """Return whether this is about `request`."""
        return (self.id, self.attempt, self.action) == (
            request.id,
            request.attempt,
            request.action,
        )


def open_in(folder: Path, name: str) -> IO[bytes]:
    """Open the regular file `name` in `folder`, which another user controls; follow no link."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(name, flags, dir_fd=place)
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError(f"{name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_request(spool: Path) -> Request | None:
    """Return the request in the `spool`, or None without one; raises `RefusedError`."""
    try:
        with open_in(spool, REQUEST) as file:
            content = json.loads(file.read(1 << 16))
        request = Request(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError) as error:
        raise RefusedError(f"{REQUEST} is not a request: {str(error)[:200]}") from None
    for name, pattern in _PATTERNS.items():
        value = getattr(request, name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise RefusedError(f"{REQUEST}: {name} is not valid")
    for name, most in (("attempt", 1 << 31), ("bytes", MOST_BYTES)):
        if type(value := getattr(request, name)) is not int or not 0 <= value <= most:
            raise RefusedError(f"{REQUEST}: {name} is not valid")
    return request


class Rollout:
    """The roll-outs of the board with the folder `prefix`."""

    def __init__(self, prefix: Path, spool: Path) -> None:
        self.prefix, self.spool = prefix, spool
        self.work = prefix / "rollout"
        """Root's own copy of an archive, for the time of an installation."""
        try:
            self.record = Record(**json.loads((prefix / RECORD).read_bytes()))
        except (OSError, ValueError, TypeError):  # none yet
            self.record = Record()

    @property
    def board(self) -> Board:
        """The releases, as they are now."""
        return Board(self.prefix)

    def save(self, state: str, why: str = "") -> None:
        """Make the record durable."""
        self.record.state, self.record.why, self.record.time = state, why[:500], time.time()
        write_durably(self.prefix / RECORD, json.dumps(asdict(self.record)).encode())

    def take(self, request: Request) -> None:
        """Do what `request` asks for, unless that is done; raises `ReleaseError` and OSError."""
        record = self.record
        if record.answers(request) and record.state != "working":
            return
        if not record.answers(request):
            installed = record.release if request.id == record.id else ""
            self.record = record = Record(
                request.id, request.attempt, request.action, release=installed
            )
        record.tries += 1
        try:
            if request.action == "back":
                self._back()
            elif record.release and record.release in self.board.state.good:
                self._went_on(record.release)  # confirmed, then the power failed
            elif record.tries > TRIES:
                raise RefusedError(f"cut short {TRIES} times")
            else:
                self._install(request)
        except (ReleaseError, OSError) as error:
            self._clean_up()  # a full disk needs room for the record
            self.save("failed", str(error))
            raise
        finally:  # the follower reads the answer, and opens the gallery of the release in use
            manage("try-restart", "edge-runtime-fleet")

    def _went_on(self, name: str) -> None:
        if self.board.current != name:
            raise RefusedError(f"release {name} was left again")
        self.save("ready")

    # -- installation -------------------------------------------------------------------------

    def _install(self, request: Request) -> None:
        self._clean_up()
        board = self.board
        base = board.current if board.current in board.state.good else None
        base = base or next(iter(board.state.good), None)
        if base is None:
            raise RefusedError("no release was confirmed yet: run make deploy first")
        if fault := board.fault(base):
            raise RefusedError(f"release {base} is damaged: {fault}")
        wanted = hashlib.sha256(f"{base}/{request.id}".encode()).hexdigest()[:12]
        with locked(self.prefix):
            name = board.place(wanted)
        self.record.release = name
        self.save("working")
        if name not in board.state.good:
            folder = board.releases / name
            try:
                self._build(request, board.releases / base, folder)
                with locked(self.prefix):
                    board.seal(name)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        self._clean_up()
        self._try_out(name)

    def _build(self, request: Request, base: Path, folder: Path) -> None:
        """Make the release `folder` from the release `base` and the archive."""
        used = sum(path.lstat().st_size for path in (base / "venv").rglob("*"))
        need = used + 2 * request.bytes + 50 * MEGABYTE
        if (free := shutil.disk_usage(self.prefix).free) < need:
            raise RefusedError(
                f"{free // MEGABYTE} MB free on {self.prefix}, {need // MEGABYTE} MB needed"
            )
        archive = self._fetch(request)
        folder.mkdir(parents=True)
        unpack(archive, folder / "model")
        check_bundle(folder / "model", TRUST)
        # Copied, not linked: one damaged file must not damage two releases.
        copy = ["cp", "-a", "--no-preserve=ownership", "--reflink=auto"]  # all of it is root's
        copy += [base / "venv", folder / "venv"]
        done = subprocess.run(copy, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ReleaseError(f"the environment cannot be copied: {done.stderr.strip()[-300:]}")
        move_scripts(folder / "venv", base / "venv")
        home = gallery_of(base)
        gallery = home.with_name(request.gallery) if request.gallery else home
        (folder / GALLERY).symlink_to(gallery)
        unit = (base / UNIT).read_text()
        setting = f"Environment=EDGE_RUNTIME_GALLERY={self.prefix}/current/{GALLERY}"
        unit = re.sub(r"(?m)^Environment=EDGE_RUNTIME_GALLERY=.*$", lambda _: setting, unit)
        (folder / UNIT).write_text(unit)
        examine(folder, gallery, unit)

    def _fetch(self, request: Request) -> Path:
        """Copy the archive out of the reach of other users; return the copy, which is checked."""
        self.work.mkdir(mode=0o700, exist_ok=True)
        copy, digest, left = self.work / "model.tar", hashlib.sha256(), request.bytes
        try:
            with open_in(self.spool, f"{request.id}.tar") as source, copy.open("wb") as out:
                while left and (chunk := source.read(min(left, 1 << 20))):
                    digest.update(chunk)
                    out.write(chunk)
                    left -= len(chunk)
                whole = not left and not source.read(1)
        except FileNotFoundError:
            raise RefusedError(f"{request.id}.tar is missing") from None
        if not whole or digest.hexdigest() != request.sha256:
            raise RefusedError(f"{request.id}.tar differs from its digest")
        return copy

    def _clean_up(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)

    # -- trial and way back -------------------------------------------------------------------

    def _try_out(self, name: str) -> None:
        """Switch to the release `name`; confirm it once it is ready, otherwise go back."""
        before = self.board.current
        try:
            with locked(self.prefix):
                board = self.board
                if before and before in board.state.good:
                    link_gallery(board.releases / before)  # for its way back, without its old unit
                board.begin(name, Path(board.state.unit), running=False)
            log(f"roll-out {self.record.id}: trying release {name}")
            why = restart()
            if not why:
                with locked(self.prefix):
                    self.board.confirm(name, KEEP)
                log(f"roll-out {self.record.id}: release {name} is ready")
                self.save("ready")
                return
        except (ReleaseError, OSError) as error:
            why = f"cannot be used: {error}"
        if self.board.current == name:  # otherwise the start itself, or a deployment, went on
            why += self._revert(why)
        shutil.rmtree(self.board.releases / name, ignore_errors=True)
        raise RefusedError(f"release {name} {why}")

    def _revert(self, why: str) -> str:
        """Go back to the release before; return what is wrong with it, or an empty string."""
        with locked(self.prefix):
            before = self.board.revert(why)
        fault = restart()
        return f"; release {before} {fault}, too" if fault else ""

    def _back(self) -> None:
        self.save("working")  # for the number of tries
        if not self.record.release or self.board.current != self.record.release:
            self.save("back", "" if self.record.tries > 1 else "this board was not on it")
            return
        if fault := self._revert("is called back"):
            raise RefusedError(fault.removeprefix("; "))
        self.save("back")


@contextmanager
def locked(prefix: Path) -> Iterator[None]:
    """Hold the lock of release.py; never while the service starts, whose `check` takes it."""
    with (prefix / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unpack(archive: Path, model: Path) -> None:
    """Write the files of the `archive` into the new folder `model`; raises `RefusedError`.

    Only plain files of one folder, `model`, are accepted, at most MOST_BYTES together.
    """
    model.mkdir()
    left = MOST_BYTES
    try:
        with tarfile.open(archive, "r:", tarinfo=_Plain) as tar:
            for count, member in enumerate(tar):
                found = _MEMBER.fullmatch(member.name)
                left -= member.size
                if not member.isreg() or not found or count >= MOST_FILES or left < 0:
                    raise RefusedError(
                        f"the archive has an entry that no bundle has: {member.name!a}"
                    )
                content = tar.extractfile(member)
                assert content is not None
                with (model / found[1]).open("xb") as out:
                    shutil.copyfileobj(content, out)
                    os.fchmod(out.fileno(), 0o644)
    except (tarfile.TarError, FileExistsError, EOFError) as error:
        raise RefusedError(f"the archive cannot be read: {error}") from None


def check_bundle(model: Path, trust: Path) -> None:
    """Check the bundle in the folder `model`: signature and digests; raises `RefusedError`."""
    try:
        content = (model / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise RefusedError("the archive has no bundle") from None
    check_signature(model / MANIFEST, content, trust)
    try:
        entries: dict[str, Any] = json.loads(content)["files"]
        files = {str(name): str(entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RefusedError(f"{MANIFEST} is malformed: {error!r}") from None
    present = {path.name for path in model.iterdir()} - {MANIFEST, f"{MANIFEST}.sig"}
    if present != set(files):
        raise RefusedError(f"{MANIFEST} does not list the files: {min(present ^ set(files))!a}")
    for name, expected in files.items():
        if release.digest(model / name) != expected:
            raise RefusedError(f"{name} of the bundle is damaged")


def check_signature(path: Path, content: bytes, trust: Path) -> None:
    """Raise `RefusedError` if keys are installed and none of them signed the file `path`."""
    trusted, revoked = trust / "trusted_keys", trust / "revoked_keys"
    if not trusted.exists() and "EDGE_RUNTIME_TRUST" not in os.environ:
        return
    for each in (trust, trusted, revoked):
        with suppress(FileNotFoundError):
            found = each.stat()
            if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
                raise RefusedError(f"other users can change {each}, so its keys prove nothing")
    signature = path.with_name(path.name + ".sig")
    if not signature.exists():
        raise RefusedError("the bundle is not signed, and this board accepts only signed ones")
    command = ["ssh-keygen", "-Y", "verify", "-f", trusted, "-I", "edge-runtime"]
    command += ["-n", "edge-runtime-bundle", "-s", signature]
    command += ["-r", revoked] if revoked.exists() else []
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise RefusedError("ssh-keygen is missing: sudo apt install openssh-client") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        why = said[-1] if said else "the key is not accepted"
        raise RefusedError(f"the bundle is not signed by a key that this board trusts: {why}")


def move_scripts(venv: Path, old: Path) -> None:
    """Make the programs of `venv`, a copy of the environment `old`, use the copy."""
    for path in (venv / "pyvenv.cfg", *(venv / "bin").iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if os.fsencode(old) in content:
            path.write_bytes(content.replace(os.fsencode(old), os.fsencode(venv)))


def gallery_of(folder: Path) -> Path:
    """Return the gallery of the release `folder`; raises `RefusedError`."""
    with suppress(OSError):
        return (folder / GALLERY).readlink()
    unit = (folder / UNIT).read_text()
    if found := re.search(r"(?m)^Environment=EDGE_RUNTIME_GALLERY=(.+)$", unit):
        return Path(found[1])
    raise RefusedError(f"the unit of release {folder.name} names no gallery")


def link_gallery(folder: Path) -> None:
    """Give the release `folder`, of an earlier version, the link to its gallery."""
    if not (folder / GALLERY).is_symlink():
        (folder / GALLERY).symlink_to(gallery_of(folder))
        release.sync(folder)


def examine(folder: Path, gallery: Path, unit: str) -> None:
    """Run `edge-runtime doctor` of the release `folder`, as the user of the service.

    Raises `RefusedError` if a check fails, or if the bundle cannot be used on this CPU: the daemon
    would fall back to its ONNX file, which the fleet did not ask for.
    """
    found = re.search(r"(?m)^User=(.+)$", unit)
    who: dict[str, Any] = {}
    if found and os.geteuid() == 0 and found[1] != "root":
        # It loads the bundle's native code, which root must not run.
        who = {"user": found[1], "group": found[1], "extra_groups": _groups(found[1])}
    command = [folder / release.PYTHON, "-m", "edge_runtime", "doctor", "--json"]
    command += ["--model", folder / "model", "--gallery", gallery]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **who)
    try:
        findings = [
            (f["status"], f["name"], f["detail"]) for f in json.loads(done.stdout)["findings"]
        ]
    except (ValueError, TypeError, KeyError):
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RefusedError(f"doctor: {said[-1]}") from None
    for status, name, detail in findings:
        if status == "fail" or (status, name) == ("warn", "bundle"):
            raise RefusedError(f"doctor: {name}: {detail}")


def _groups(user: str) -> list[int]:
    import grp

    return [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]


def manage(*command: str) -> None:
    """Run systemctl, whatever comes of it."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["systemctl", *command], check=False, timeout=60)


def restart() -> str:
    """Start the service again; return what is wrong, or an empty string once it is steady."""
    manage("daemon-reload")
    try:
        done = subprocess.run(
            ["systemctl", "restart", "edge-runtime"], check=False, timeout=READY_S
        )
    except subprocess.TimeoutExpired:
        return f"did not become ready in {READY_S:g} s"
    if done.returncode:
        return "ended before it became ready"
    time.sleep(STEADY_S)
    active = ["systemctl", "is-active", "--quiet", "edge-runtime"]
    if subprocess.run(active, check=False).returncode:
        return f"became ready but ended within {STEADY_S:g} s"
    return ""


def main() -> None:
    """Take the request; exit with 1 and one line if it fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prefix", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--spool", type=Path, default=Path("/var/lib/edge-runtime/rollout"))
    options = parser.parse_args()
    os.umask(0o022)
    try:
        with (options.prefix / ".rollout.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if request := read_request(options.spool):
                Rollout(options.prefix, options.spool).take(request)
    except (ReleaseError, OSError) as error:
        log(f"roll-out: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
