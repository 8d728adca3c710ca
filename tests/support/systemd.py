"""What a deployment has on a board: the scripts of deploy/, and a small replacement for systemctl.

The latter runs the unit's commands and waits for their READY=1.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

_PROGRAM = '''#!{python}
"""The subset of systemctl that a deployment needs."""
import os, re, signal, socket, subprocess, sys, time
from pathlib import Path
state = Path({state!r})
unit = Path({units!r}) / "edge-runtime.service"
pid_file, log = state / "pid", state / "log"
verb = next(word for word in sys.argv[1:] if not word.startswith("-"))

def facts(pid):
    """The state of a process, and when it started: another one may get its id later."""
    fields = Path(f"/proc/{{pid}}/stat").read_text().rsplit(")", 1)[1].split()
    return fields[0], fields[19]

def running():
    try:
        pid, began = pid_file.read_text().split()
        status, found = facts(pid)
        return int(pid) if status != "Z" and found == began else None
    except (OSError, ValueError):
        return None

def stop():
    pid = running()
    if pid:
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not running():
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

if sys.argv[-1] == "edge-runtime-fleet" and verb != "enable":
    sys.exit(0)  # its condition skips it: no test of a deployment has joined a fleet
if verb == "stop":
    stop()
elif verb == "enable":
    wanted = unit.parent / "multi-user.target.wants" / unit.name
    wanted.parent.mkdir(exist_ok=True)
    wanted.unlink(missing_ok=True)
    wanted.symlink_to(unit)
elif verb == "restart":
    stop()
    text = unit.read_text()
    before = re.search(r"^ExecStartPre=-\\+(.*)$", text, re.M)[1].split()
    subprocess.run(before, stdout=log.open("ab"), stderr=subprocess.STDOUT)
    command = re.search(r"^ExecStart=(.*)$", text, re.M)[1].split()
    variables = dict(pair.split("=", 1) for pair in re.findall(r"^Environment=(.*)$", text, re.M))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    place = state / "notify"
    place.unlink(missing_ok=True)
    channel.bind(str(place))
    channel.settimeout(0.2)
    child = subprocess.Popen(
        command, env={{**os.environ, **variables, "NOTIFY_SOCKET": str(place)}},
        stdout=log.open("ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        start_new_session=True)
    pid_file.write_text(f"{{child.pid}} {{facts(child.pid)[1]}}")
    while child.poll() is None:
        try:
            if b"READY=1" in channel.recv(4096):
                sys.exit(0)
        except TimeoutError:
            pass
    sys.exit(1)
elif verb == "is-active":
    sys.exit(0 if running() else 3)
elif verb == "status":
    print(log.read_text()[-2000:] if log.exists() else "no log")
'''


def write_systemctl(folder: Path, state: Path, units: Path) -> Path:
    """Write the program to `folder` and return its path.

    It keeps the process id and the log in the folder `state`, and finds the unit in `units`.
    """
    program = folder / "systemctl"
    text = _PROGRAM.format(python=sys.executable, state=str(state), units=str(units))
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return program


def load(name: str) -> Any:
    """Return deploy/NAME.py as a module, the same one at each call."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "deploy" / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look there
        spec.loader.exec_module(module)
    return sys.modules[name]
