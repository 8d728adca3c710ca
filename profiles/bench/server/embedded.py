"""ClickHouse in this process (chdb), as one host of the product's client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge_runtime.remote.http import RemoteError
from edge_runtime.server.clickhouse import statements
from edge_runtime.server.clickhouse.client import Address, ClickHouse

ADDRESS = Address(("embedded:8123",), "default")
_FORMAT = " FORMAT JSONCompact"


class Embedded(ClickHouse):
    """Sends statements to a ClickHouse in this process, with their settings.

    There is no network, so a host is never missing.
    """

    def __init__(self, folder: Path) -> None:
        """Open the data in `folder`; raises `ClickException` without chdb."""
        try:
            import chdb
        except ImportError as error:
            raise click.ClickException("chdb is not installed: make setup-clickhouse") from error
        super().__init__(ADDRESS)
        self._session: Any = chdb.connect(str(folder))

    def close(self) -> None:
        """End ClickHouse."""
        self._session.close()

    def _send(self, host: str, statement: str, data: bytes, settings: Mapping[str, str]) -> bytes:
        assert not data
        plain = statement.removesuffix(_FORMAT)
        try:
            for name, value in settings.items():
                self._session.query(f"SET {name} = '{value}'", "TSV")
            answer = self._session.query(plain, "TSV" if plain == statement else "JSONCompact")
        except RuntimeError as error:
            raise RemoteError(f"ClickHouse: {error}"[:300], where=host) from error
        return bytes(answer.bytes())


def make_tables(server: Embedded, stamp: str, bits: int) -> str:
    """Make the tables of a load, and return the name of that of the only shard.

    There is no cluster, so a table of the engine Merge is in place of the distributed one.
    """
    name = statements.codes_table(stamp)
    server.execute(statements.create_versions())
    server.execute(statements.create_local(stamp, bits, "MergeTree()"))
    server.execute(
        f"CREATE TABLE {name} AS {name}_local ENGINE = Merge(currentDatabase(), '^{name}_local$')"
    )
    return f"{name}_local"


def name_version(server: Embedded, stamp: str, model_id: str, bits: int, codes: int) -> None:
    """Write the version, after which the codes are searched."""
    server.execute(
        f"INSERT INTO {statements.VERSIONS} VALUES ('{stamp}', 1, '{model_id}', {bits}, {codes}, 1)"
    )
