"""Load a gallery into ClickHouse: new tables, checked, and only then a new version.

A server continues with the earlier version until the new one is complete. An interrupted load
leaves tables that no version names; the next load removes them.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import InputError
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.snapshot.packed import Columns
from edge_runtime.remote.http import RemoteError
from edge_runtime.server.clickhouse import statements
from edge_runtime.server.clickhouse.client import Address, ClickHouse
from edge_runtime.server.clickhouse.codes import read_version
from edge_runtime.server.codes import Content

PART = 50_000
"""Codes in one INSERT."""
LOAD_S = 300.0
MERGE_TREE = "MergeTree()"


def load_gallery(
    gallery: Path,
    address: Address,
    cluster: str,
    *,
    engine: str = MERGE_TREE,
    progress: Callable[[float], None] = lambda _share: None,
) -> Content:
    """Load `gallery` into `cluster` and return the new content; raises `EdgeRuntimeError`.

    `address` must name every host of the cluster, as the tables are made on each. `engine` is that
    of the tables of the shards. `progress` is called with shares that add up to one.
    """
    server = ClickHouse(address, LOAD_S)
    hosts = [server.at(host) for host in address.hosts]
    _check_cluster(hosts, cluster)
    with Gallery(gallery, read_only=True) as opened:
        snapshot = opened.snapshot()
        columns, labels, bits = snapshot.columns(), snapshot.labels, opened.bits
        model_id = opened.model_id
    stamp = secrets.token_hex(8)
    number = 1
    named: list[str] = []
    for host in hosts:
        host.execute(statements.create_versions())
        loaded = read_version(host)
        number = max(number, loaded.number + 1 if loaded else 1)
        rows = host.rows(f"SELECT stamp FROM {statements.VERSIONS} ORDER BY number DESC LIMIT 1")
        named += [row[0] for row in rows]
    for host in hosts:
        host.execute(statements.create_local(stamp, bits, engine))
    for host in hosts:
        host.execute(statements.create_distributed(stamp, cluster))
    table = statements.codes_table(stamp)
    for start in range(0, len(columns.ids), PART):
        lines = _lines(columns, labels, start, start + PART)
        # Every replica has it, or the load fails: without this, they are sent in the background.
        hosts[0].execute(
            f"INSERT INTO {table} FORMAT JSONEachRow",
            lines,
            insert_distributed_sync="1",
        )
        progress(min(PART, len(columns.ids) - start) / len(columns.ids))
    count = int(hosts[0].rows(f"SELECT count() FROM {table}")[0][0])
    if count != len(columns.ids):
        raise RemoteError(
            f"{count} of {len(columns.ids)} codes have arrived",
            where=address,
            remedy="load the gallery again",
        )
    content = Content(f"{number}-{stamp}", model_id, bits, count, len(labels))
    for host in hosts:
        host.execute(
            f"INSERT INTO {statements.VERSIONS} VALUES "
            f"('{stamp}', {number}, '{model_id}', {bits}, {count}, {len(labels)})"
        )
    for host in hosts:
        _remove_others(host, {stamp, *named})
    return content


def _check_cluster(hosts: list[ClickHouse], cluster: str) -> None:
    for host in hosts:
        rows = host.rows(
            f"SELECT shard_num, count() FROM system.clusters WHERE cluster = '{_plain(cluster)}' "
            "GROUP BY shard_num"
        )
        if not rows:
            raise InputError(
                f"this host has no cluster {cluster}",
                where=host.address,
                remedy="define it in remote_servers of its configuration",
            )
        replicas = sum(int(row[1]) for row in rows)
        if replicas != len(hosts):
            raise InputError(
                f"the cluster {cluster} has {replicas} hosts, and the address names {len(hosts)}",
                where=host.address,
                remedy="name all of them, separated by commas",
            )


def _plain(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise InputError("not the name of a cluster", where=name)
    return name


def _lines(columns: Columns, labels: dict[int, str], start: int, end: int) -> bytes:
    part = slice(start, end)
    ids = columns.ids[part].tolist()
    pictures = ids if columns.pictures is None else columns.pictures[part].tolist()
    owners, codes = columns.label_ids[part].tolist(), columns.codes[part].tolist()
    unknown = (math.nan,) * 3
    places = [unknown] * len(ids)
    if columns.positions is not None:
        places = columns.positions[part].tolist()
    lines = []
    for row_id, picture, owner, words, place in zip(
        ids, pictures, owners, codes, places, strict=True
    ):
        row = {"id": row_id, "picture": picture, "label": labels[owner]}
        row |= {f"code{number}": word for number, word in enumerate(words)}
        named = zip(("latitude", "longitude", "heading"), place, strict=True)
        row |= {name: "nan" if value != value else value for name, value in named}
        lines.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(lines).encode()


def _remove_others(host: ClickHouse, stamps: set[str]) -> None:
    """Drop the tables of loads that are older, or were interrupted."""
    prefix = statements.codes_table("")
    rows = host.rows(
        f"SELECT name FROM system.tables WHERE database = currentDatabase() "
        f"AND substring(name, 1, {len(prefix)}) = '{prefix}'"
    )
    for (name,) in rows:
        if name.removeprefix(prefix).removesuffix("_local") not in stamps:
            host.execute(f"DROP TABLE {name}")
