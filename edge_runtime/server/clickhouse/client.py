"""Statements over ClickHouse's HTTP interface, which every version has.

The Python driver refuses old servers, and bounds each wait but not a whole question. So this is
one POST per statement, with a deadline and with settings that turn partial answers into errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from edge_runtime.errors import InputError
from edge_runtime.remote.http import RemoteError, send
from edge_runtime.settings.secrets import read_secret

TIMEOUT_S = 20.0
MOST_BYTES = 64 << 20
COMPLETE: Mapping[str, str] = {
    "skip_unavailable_shards": "0",
    "max_parallel_replicas": "1",
    "distributed_group_by_no_merge": "0",
    "fallback_to_stale_replicas_for_distributed_queries": "0",
    **dict.fromkeys(
        (
            "read_overflow_mode",
            "timeout_overflow_mode",
            "result_overflow_mode",
            "sort_overflow_mode",
            "set_overflow_mode",
            "transfer_overflow_mode",
        ),
        "throw",
    ),
}
"""Settings with which an answer is complete or an error. Each is sent with every statement and read
back, since a profile of the server must not decide this."""
OPTIONAL: Mapping[str, str] = {
    "limit": "0",
    "offset": "0",
    "read_overflow_mode_leaf": "throw",
    "max_replica_delay_for_distributed_queries": "300",
    "allow_experimental_parallel_reading_from_replicas": "0",
    "skip_unavailable_shards_mode": "unavailable",
}
"""The same for settings that only some versions have; those that the server lacks are not sent."""
NO_REPLICA = "Code: 279"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class Address:
    """Where a database is, and as whom it is used."""

    hosts: tuple[str, ...]
    """HOST:PORT of the HTTP interface; the first that answers is asked."""
    database: str
    user: str = "default"
    password: str = field(default="", repr=False)
    tls: bool = False

    def __str__(self) -> str:
        scheme = "clickhouses" if self.tls else "clickhouse"
        return f"{scheme}://{self.user}@{','.join(self.hosts)}/{self.database}"


def parse_address(text: str, password_file: str = "") -> Address:
    """Parse clickhouse://USER@HOST:PORT[,HOST:PORT]/DATABASE; raises `InputError`."""
    remedy = "docs/SERVER.md has an example"
    found = re.fullmatch(r"(clickhouses?)://(?:([^/@:]+)@)?([^/@]+)/([^/]+)", text)
    if found is None:
        what = "the password must be in a file" if re.search(r"//[^/]*:[^/]*@", text) else ""
        where = urlsplit(text).scheme + "://..." if what else text
        raise InputError(
            what or "not the address of a database",
            where=where,
            remedy="use --codes-password-file" if what else remedy,
        )
    tls = found[1] == "clickhouses"
    hosts = []
    for each in found[3].split(","):
        host, colon, port = each.rpartition(":")
        if not colon:
            host, port = each, "8443" if tls else "8123"
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError("not the address of a database", where=text, remedy=remedy)
        hosts.append(f"{host}:{port}")
    if not _NAME.fullmatch(found[4]):
        raise InputError("not the name of a database", where=text, remedy=remedy)
    password = read_secret(password_file) if password_file else ""
    return Address(tuple(hosts), found[4], unquote(found[2] or "default"), password, tls)


class ClickHouse:
    """Sends statements to one server of a cluster, or to the next one if that does not answer."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S) -> None:
        """Nothing is sent yet. `timeout_s` bounds each statement on each host."""
        self.address = address
        self._timeout_s = timeout_s
        self._settings = dict(COMPLETE)
        self._first = 0
        self._prepared = False
        self.version = ""
        """Version of ClickHouse; empty before the first statement."""
        self.has_bit_count = False
        """Whether it has the function bitCount, from version 20.1 on."""

    def at(self, host: str) -> ClickHouse:
        """Return a client for one host of the address alone."""
        return ClickHouse(replace(self.address, hosts=(host,)), self._timeout_s)

    def rows(self, statement: str) -> list[list[Any]]:
        """Return the rows of a SELECT; raises `RemoteError` unless they are complete."""
        body = self._try_hosts(f"{statement} FORMAT JSONCompact")
        try:
            found = json.loads(body)
            data, count = found["data"], found["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError("the answer is not complete", where=self.address) from error
        if not isinstance(data, list) or len(data) != count:
            raise RemoteError("the answer is not complete", where=self.address)
        return data

    def execute(self, statement: str, data: bytes = b"", **settings: str) -> None:
        """Execute a statement, followed by `data` for an INSERT; raises `RemoteError`."""
        self._try_hosts(statement, data, **settings)

    def check(self) -> None:
        """Raise `RemoteError` unless the server applies the settings for complete answers."""
        self._prepared = False
        self.rows("SELECT 1")

    def _try_hosts(self, statement: str, data: bytes = b"", **settings: str) -> bytes:
        hosts = self.address.hosts
        fault: RemoteError | None = None
        for step in range(len(hosts)):
            number = (self._first + step) % len(hosts)
            try:
                if number != self._first or not self._prepared:
                    self._prepare(hosts[number])
                answer = self._send(hosts[number], statement, data, self._settings | settings)
            except _HostError as error:
                fault = fault or error
                continue
            self._first = number
            return answer
        assert fault is not None
        raise fault

    def _prepare(self, host: str) -> None:
        """Learn what the server has, and read back the settings."""
        listed = ", ".join(f"'{name}'" for name in (*COMPLETE, *OPTIONAL))
        ask = f"SELECT name, value FROM system.settings WHERE name IN ({listed}) FORMAT JSONCompact"
        known = dict(json.loads(self._send(host, ask, b"", {}))["data"])
        wanted = {**COMPLETE, **OPTIONAL}
        settings = {name: value for name, value in wanted.items() if name in known}
        applied = dict(json.loads(self._send(host, ask, b"", settings))["data"])
        for name, value in settings.items():
            if name in COMPLETE and applied.get(name) != value:
                raise RemoteError(
                    f"the server does not apply {name} = {value}, so answers could be incomplete",
                    where=host,
                    remedy="check the profile of the user",
                )
        if "skip_unavailable_shards" not in applied:
            raise RemoteError("the server has no skip_unavailable_shards", where=host)
        self.version = self._send(host, "SELECT version()", b"", {}).decode().strip()
        try:
            self._send(host, "SELECT bitCount(toUInt64(7))", b"", {})
            self.has_bit_count = True
        except RemoteError:
            self.has_bit_count = False
        self._settings = settings
        self._prepared = True

    def _send(self, host: str, statement: str, data: bytes, settings: Mapping[str, str]) -> bytes:
        address = self.address
        parameters = {
            "database": address.database,
            "max_execution_time": str(max(1, int(self._timeout_s))),
            "output_format_json_quote_64bit_integers": "1",
            # A replica that is silent for so long is left for another one. Progress counts as well.
            "receive_timeout": str(max(1, int(self._timeout_s / 4))),
            "wait_end_of_query": "1",  # so that an error is never at the end of a partial answer
            **settings,
        }
        headers = {"X-ClickHouse-User": address.user}
        if address.password:
            headers["X-ClickHouse-Key"] = address.password
        body = statement.encode()
        if data:
            parameters["query"], body = statement, data
        url = f"{'https' if address.tls else 'http'}://{host}/?{urlencode(parameters)}"
        try:
            answer = send(
                "POST", url, body, headers, timeout_s=self._timeout_s, most_bytes=MOST_BYTES
            )
        except RemoteError as error:
            raise _HostError(error.what, where=host, remedy=error.remedy) from error
        if answer.status != 200:
            raise RemoteError(_said(answer.body), where=host)
        return answer.body


class _HostError(RemoteError):
    """A host that does not answer; another one may."""


def _said(body: bytes) -> str:
    """Return the first line of an error, without what surrounds it."""
    text = body.decode("utf-8", "replace").strip().splitlines()
    if text and text[0].startswith(NO_REPLICA):
        return "ClickHouse: a shard is missing: none of its replicas gives an answer"
    line = text[0] if text else "no reason given"
    line = line.replace("e.displayText() = ", "").partition(", e.what()")[0]
    return "ClickHouse: " + "".join(each if each.isprintable() else " " for each in line)[:300]
