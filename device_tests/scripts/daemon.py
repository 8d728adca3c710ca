"""Run the daemon as a service manager does: start, wait for readiness, stop.

python daemon.py FOLDER GALLERY BUNDLE CAMERA LABEL
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

CONFIG = """\
gallery.path = "{gallery}"
output.format = "json"
[model]
path = "{bundle}"
[camera]
source = "{camera}"
loop = true
real_time = true
"""
LIMIT_S = 120.0


def main() -> None:
    """Start the daemon, wait for READY and for a recognition of LABEL, then send SIGTERM."""
    folder, gallery, bundle, camera, label = sys.argv[1:]
    config = Path(folder) / "edge.toml"
    config.write_text(CONFIG.format(gallery=gallery, bundle=bundle, camera=camera))
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(f"{folder}/notify")
    manager.settimeout(LIMIT_S)
    began_s = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "run", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"},
    )
    assert child.stdout and child.stderr
    watch = threading.Timer(LIMIT_S, child.kill)  # limits every wait below
    watch.start()
    log_lines: list[str] = []
    listener = threading.Thread(target=log_lines.extend, args=(child.stderr,))
    listener.start()
    outcome: dict[str, object] = {"recognized": False}
    try:
        while b"READY=1" not in manager.recv(4096):
            pass
        outcome["ready_s"] = time.monotonic() - began_s
        for line in child.stdout:
            event = json.loads(line)
            if event.get("kind") == "enter" and event.get("label") == label:
                outcome["recognized"] = True
                break
        began_s = time.monotonic()
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
        outcome["exit_code"] = child.wait(LIMIT_S)
        outcome["ended_s"] = time.monotonic() - began_s
    finally:
        watch.cancel()
        child.kill()
        listener.join()
    sys.stdout.write(json.dumps({**outcome, "log": log_lines[-20:]}) + "\n")


if __name__ == "__main__":
    main()
