"""A ClickHouse cluster of real processes: two shards with two replicas."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

CONFIG = """\
<yandex>
<logger><level>warning</level><console>1</console></logger>
<http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
<mark_cache_size>16777216</mark_cache_size><users_config>users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<remote_servers><codes>{shards}</codes></remote_servers>
</yandex>
"""
USERS = """\
<yandex><profiles><default>{profile}</default></profiles>
<users><default><password></password><networks><ip>::/0</ip></networks>
<profile>default</profile><quota>default</quota></default></users>
<quotas><default></default></quotas></yandex>
"""


def server_program() -> str:
    """Return the path of clickhouse-server; without it, skip the test."""
    found = shutil.which("clickhouse-server")
    if found is None:
        pytest.skip("clickhouse-server is not installed: apt-get install clickhouse-server")
    return found


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Cluster:
    """Hosts 0 and 1 are the replicas of shard 1, hosts 2 and 3 those of shard 2."""

    def __init__(self, folder: Path, profile: str = "") -> None:
        self._program = server_program()
        ports = _free_ports(8)
        self.http, self.tcp = ports[:4], ports[4:]
        self._folders = [folder / f"host{number}" for number in range(4)]
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        shards = ""
        for pair in (self.tcp[:2], self.tcp[2:]):
            replicas = "".join(
                f"<replica><host>127.0.0.1</host><port>{port}</port></replica>" for port in pair
            )
            shards += f"<shard><internal_replication>false</internal_replication>{replicas}</shard>"
        for number, place in enumerate(self._folders):
            place.mkdir(parents=True)
            text = CONFIG.format(
                http=self.http[number], tcp=self.tcp[number], folder=place, shards=shards
            )
            (place / "config.xml").write_text(text)
            (place / "users.xml").write_text(USERS.format(profile=profile))
        for number in range(4):
            self.start(number)
        for number in range(4):
            self.until_up(number)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.http)
        return f"clickhouse://default@{hosts}/default"

    def start(self, number: int) -> None:
        place = self._folders[number]
        with (place / "log").open("ab") as log:
            self._children[number] = subprocess.Popen(
                [self._program, f"--config-file={place / 'config.xml'}"],
                stdout=log,
                stderr=log,
                cwd=place,
            )

    def until_up(self, number: int) -> None:
        end_s = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http[number]}/", timeout=5):
                    return
            except (OSError, urllib.error.URLError):
                log = (self._folders[number] / "log").read_text()[-2000:]
                assert self._children[number].poll() is None, log
                assert time.monotonic() < end_s, log
                time.sleep(0.1)

    def kill(self, number: int) -> None:
        child = self._children[number]
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.wait()

    def freeze(self, number: int) -> None:
        self._children[number].send_signal(signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        self._children[number].send_signal(signal.SIGCONT)

    def restart(self, number: int) -> None:
        self.kill(number)
        self.start(number)
        self.until_up(number)

    def close(self) -> None:
        for number in self._children:
            self.kill(number)
