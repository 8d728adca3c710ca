"""Keep a board on a release that works, whatever happens to its power.

    python3 -I release.py COMMAND [NAME]

Runs on the board, with the system's Python and nothing but its standard library: it must work when
a release does not. A copy lies outside the releases, and the unit runs `check` before every start.

    PREFIX/releases/NAME/{venv,model,gallery.sqlite,edge-runtime.service,files.sha256}
    PREFIX/current -> releases/NAME        PREFIX/state.json        PREFIX/release.py

A release goes through these steps, each durable before the next begins. `seal` syncs its files
and lists their digests. `begin` notes it as on trial and switches to it. The trial is one start, in
the boot of its deployment. `confirm` makes it a good one, once it is ready. A start of a release
that is neither good nor on its first trial, or that differs from its list, goes back to the last
good one.

`gallery.sqlite` is a link to the gallery of the release's model, so that `current` switches both.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

LIST = "files.sha256"
UNIT = "edge-runtime.service"
GALLERY = "gallery.sqlite"
PYTHON = "venv/bin/python"
BOOT_ID = Path(os.environ.get("BOOT_ID", "/proc/sys/kernel/random/boot_id"))


class ReleaseError(Exception):
    """A command failed; its text is for the user."""


def log(text: str) -> None:
    """Print a line to standard error, which is the journal's when systemd runs this."""
    sys.stderr.write(f"deploy: {text}\n")


def sync(folder: Path, *, whole: bool = False) -> None:
    """Make the entries of `folder`, or its `whole` file system, durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not whole:
            os.fsync(descriptor)
        elif ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace the file `path` by one with `content`, atomically and durably."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch(0o600)
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def digest(path: Path) -> str:
    """Return the SHA-256 of the file `path`, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_list(folder: Path) -> str:
    """Return the list of `folder`: a line for each regular file, in the format of sha256sum."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    names = {path.relative_to(folder).as_posix() for path in found if not path.is_symlink()}
    return "".join(f"{digest(folder / name)}  {name}\n" for name in sorted(names - {LIST}))


def read_list(folder: Path) -> dict[str, str]:
    """Return the digest of every file that the list of `folder` names; raises `ReleaseError`."""
    try:
        lines = (folder / LIST).read_text("utf-8", "surrogateescape").splitlines()
        digests = {name: value for value, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{LIST} cannot be read: {error}") from None
    if not digests:
        raise ReleaseError(f"{LIST} is empty")
    return digests


@dataclass
class State:
    """What the board knows of its releases, in PREFIX/state.json."""

    good: list[str] = field(default_factory=list)
    """Confirmed releases, the latest first."""
    trial: str | None = None
    """The release that was switched to and has not been confirmed."""
    boot: str = ""
    """The boot in which the trial began."""
    started: bool = False
    """Whether the trial's only start has happened."""
    unit: str = ""
    """The path of the installed unit."""


class Board:
    """The releases below the folder `prefix`."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.releases = prefix / "releases"
        self.link = prefix / "current"
        try:
            self.state = State(**json.loads((prefix / "state.json").read_bytes()))
        except (OSError, ValueError, TypeError):  # none yet
            self.state = State()

    @property
    def current(self) -> str | None:
        """The release that the link names, or None."""
        try:
            name = self.link.readlink().name
        except OSError:
            return None
        return name if (self.releases / name).is_dir() else None

    def fault(self, name: str) -> str:
        """Return how the release `name` differs from its list, or an empty string."""
        folder, each = self.releases / name, ""
        try:
            for each, expected in read_list(folder).items():
                if digest(folder / each) != expected:
                    empty = not (folder / each).stat().st_size
                    return f"{each} {'is empty' if empty else 'has changed'}"
        except ReleaseError as error:
            return str(error)
        except OSError as error:
            return f"{each} cannot be read: {error.strerror}"
        return "" if os.access(folder / PYTHON, os.X_OK) else f"{PYTHON} cannot be started"

    def save(self) -> None:
        """Make the state durable."""
        write_durably(self.prefix / "state.json", json.dumps(asdict(self.state)).encode())

    def switch(self, name: str) -> None:
        """Make the link lead to the release `name`, atomically and durably."""
        temporary = self.prefix / "current.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(f"releases/{name}")
        temporary.replace(self.link)
        sync(self.prefix)

    def place(self, name: str) -> str:
        """Return the folder for the release `name`: a confirmed one, or one that does not exist.

        What a failed deployment left is removed, but never the release that is in use.
        """
        names = (name, f"{name}-2")
        for each in names:
            if each in self.state.good and not self.fault(each):
                return each
        chosen = names[1] if self.current == name else name
        shutil.rmtree(self.releases / chosen, ignore_errors=True)
        return chosen

    def link_gallery(self, name: str, gallery: Path) -> None:
        """Lead the release `name` to `gallery`, or to that of its model if there is one beside it.

        A roll-out of another model (rollout.py) keeps a gallery for each: NAME-MODEL.sqlite.
        """
        folder = self.releases / name
        with suppress(OSError, ValueError, KeyError, TypeError):
            model = str(json.loads((folder / "model/manifest.json").read_bytes())["model"]["id"])
            own = gallery.with_name(f"{gallery.stem}-{model[:12]}{gallery.suffix}")
            gallery = own if own.is_file() else gallery
        (folder / GALLERY).unlink(missing_ok=True)
        (folder / GALLERY).symlink_to(gallery)

    def seal(self, name: str) -> None:
        """Make the files of the release `name` durable, then list their digests."""
        folder = self.releases / name
        sync(folder, whole=True)
        write_durably(folder / LIST, make_list(folder).encode("utf-8", "surrogateescape"))

    def begin(self, name: str, unit: Path, *, running: bool) -> None:
        """Install the unit of the release `name` and switch to it, on trial if it is new.

        A release that an earlier version of this script deployed counts as good if it is `running`.
        """
        current, state = self.current, self.state
        if running and current and not state.unit:
            if not (self.releases / current / LIST).exists():
                shutil.copyfile(unit, self.releases / current / UNIT)
                self.seal(current)
            state.good = [current]
        state.unit = str(unit)
        if name not in state.good:
            state.trial, state.boot, state.started = name, boot_id(), False
        self.save()
        self.switch(name)
        self._install_unit(name)

    def _install_unit(self, name: str) -> bool:
        """Install the unit of the release `name`; return whether that changed it."""
        source, unit = self.releases / name / UNIT, Path(self.state.unit)
        if not source.exists() or (unit.is_file() and unit.read_bytes() == source.read_bytes()):
            return False
        write_durably(unit, source.read_bytes())
        return True

    def confirm(self, name: str, keep: int) -> None:
        """Make the release `name` the last good one, then remove all but the `keep` last ones."""
        if self.current != name or (name not in self.state.good and self.state.trial != name):
            raise ReleaseError(f"{name} is no longer in use")
        self.state.good = [name, *(each for each in self.state.good if each != name)][:keep]
        self.state.trial = None
        os.sync()  # systemd's own links and everything else that the deployment wrote
        self.save()
        for folder in self.releases.iterdir():
            if folder.name not in self.state.good:
                shutil.rmtree(folder, ignore_errors=True)

    def revert(self, why: str = "") -> str:
        """Go back to the last good release that is intact, other than the one in use.

        Returns its name. Raises `ReleaseError` if there is none.
        """
        current, good = self.current, self.state.good
        for name in good:
            if name == current:
                continue
            if fault := self.fault(name):
                log(f"release {name} is damaged, too: {fault}")
                continue
            # State first: if the power fails in between, the next start comes here again.
            self.state.good = [each for each in good[good.index(name) :] if each != current]
            self.state.trial = None
            self.save()
            if why:
                log(f"release {current} {why}: going back to {name}")
            self.switch(name)
            if self._install_unit(name):  # otherwise it is read at the next boot
                with suppress(OSError, subprocess.SubprocessError):
                    subprocess.run(["systemctl", "daemon-reload"], check=False, timeout=60)
            return name
        raise ReleaseError("there is no other good release")

    def check(self) -> None:
        """Go back to a good release if the current one was never confirmed or is damaged.

        Raises `ReleaseError` if there is no release at all.
        """
        current, state = self.current, self.state
        confirmed = current in state.good
        first = state.trial == current and state.boot == boot_id() and not state.started
        if current is None:
            why = "is missing"
        elif confirmed or first:
            if not confirmed:
                state.started = True
                self.save()  # before the start: it may be the start that cuts the power
            if not (fault := self._fault_since_last_check(current)):
                return
            why = f"is damaged ({fault})"
        else:
            why = "was never confirmed"
        try:
            self.revert(why)
        except ReleaseError:
            self._make_do(current, why)

    def _make_do(self, current: str | None, why: str) -> None:
        """Without a good release, prefer a whole one to a damaged one, and that to none."""
        others = sorted(path.name for path in self.releases.glob("*"))
        whole = (name for name in [*filter(None, [current]), *others] if not self.fault(name))
        if (chosen := next(whole, current)) is None:
            raise ReleaseError("there is no whole release: run make deploy again")
        log(f"release {current} {why}, and no other was confirmed: starting {chosen}")
        if chosen != current:
            self.switch(chosen)

    def _fault_since_last_check(self, name: str) -> str:
        """Return what is wrong with the release `name`, reading files only if they may differ.

        Every file is read at the first start after a boot, and again if one was touched since.
        """
        mark = self.prefix / "checked.json"
        seen = {"boot": boot_id(), "release": name, "files": self._stamp(name)}
        with suppress(OSError, ValueError):
            if json.loads(mark.read_bytes()) == seen:
                return ""
        fault = self.fault(name)
        if not fault:
            with suppress(OSError):
                mark.write_text(json.dumps(seen))
        return fault

    def _stamp(self, name: str) -> str:
        folder, whole = self.releases / name, hashlib.sha256()
        try:
            for each in (LIST, *read_list(folder)):
                stat = (folder / each).stat()
                facts = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
                whole.update(f"{each!a} {facts}".encode())
        except (ReleaseError, OSError):
            return "unreadable"
        return whole.hexdigest()


def boot_id() -> str:
    """Return the kernel's name for this boot."""
    return BOOT_ID.read_text().strip()


def run(options: argparse.Namespace) -> None:
    """Run one command; raises `ReleaseError` and OSError."""
    name, board = options.name, Board(options.prefix)
    match options.command:
        case "put":
            write_durably(Path(name), sys.stdin.buffer.read(), int(options.mode, 8))
        case "place":
            sys.stdout.write(board.place(name) + "\n")
        case "verify":
            if fault := board.fault(name):
                raise ReleaseError(f"release {name}: {fault}")
        case "gallery":
            board.link_gallery(name, options.gallery)
        case "seal":
            board.seal(name)
        case "begin":
            board.begin(name, options.unit, running=options.running)
        case "confirm":
            board.confirm(name, options.keep)
        case "revert":
            sys.stdout.write(board.revert() + "\n")
        case "check":
            board.check()


def main() -> None:
    """Run the command; exit with 1 and one line if it fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = (
        *("put", "place", "verify", "gallery", "seal", "begin", "confirm", "revert", "check"),
    )
    parser.add_argument("command", choices=commands)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--prefix", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--unit", type=Path, default=Path("/etc/systemd/system", UNIT))
    parser.add_argument("--gallery", type=Path, help="for the command gallery")
    parser.add_argument("--running", action="store_true", help="the service is active")
    parser.add_argument("--keep", type=int, default=3)
    parser.add_argument("--mode", default="644", help="permissions of the file, octal")
    options = parser.parse_args()
    try:
        with (options.prefix / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run(options)
    except (ReleaseError, OSError) as error:
        log(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
