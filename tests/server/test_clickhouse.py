"""Codes in ClickHouse: two shards with two replicas as real processes, which die and hang."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.code import hamming
from edge_runtime.errors import GalleryNotFoundError, InputError
from edge_runtime.position import Position, QueryPosition
from edge_runtime.remote.http import RemoteError
from edge_runtime.server.clickhouse import statements
from edge_runtime.server.clickhouse.client import ClickHouse, parse_address
from edge_runtime.server.clickhouse.codes import ClickHouseCodes
from edge_runtime.server.clickhouse.load import load_gallery
from edge_runtime.server.codes import Query, Scope
from tests.server.clickhouse_cluster import Cluster
from tests.server.lookup_server import (
    LookupServer,
    brute_force,
    fill_gallery,
    hex_of,
    some_codes,
)
from tests.support.processes import run_cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "big.sqlite"
    fill_gallery(path, 300)
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        done = run_cli("serve", "load", path, cluster.url)
        assert done.returncode == 0, done.stderr
        assert "loaded 900 codes of 15 labels as version 1-" in done.stdout
        yield cluster
    finally:
        cluster.close()


def _check(codes: ClickHouseCodes, path: Path, count: int = 5) -> None:
    asked = some_codes(path, count, seed=7)
    _, answers = codes.near([Query(code, Scope(5)) for code in asked])
    for code, answer in zip(asked, answers, strict=True):
        found = [(match.id, match.distance) for match in answer.matches]
        assert found == brute_force(path, int(code[0]), 5)


def test_answers_are_those_of_a_sort(cluster: Cluster, path: Path) -> None:
    codes = ClickHouseCodes(parse_address(cluster.url))
    local = [
        int(codes._server.at(host).rows(f"SELECT count() FROM {_table(codes)}_local")[0][0])
        for host in codes._server.address.hosts
    ]
    assert local[0] == local[1] > 0
    assert local[2] == local[3] == 900 - local[0] > 0
    asked = some_codes(path, 20)
    for k, radius, at in (
        (1, None, None),
        (5, 10, None),
        (100, None, None),
        (100, 20, None),
        (5, None, (48.001, 11.002)),
        (20, 12, (48.0, 11.0)),
    ):
        near = None if at is None else QueryPosition(Position(*at), meters_per_bit=25.0)
        _, answers = codes.near([Query(code, Scope(k, radius, near)) for code in asked])
        for code, answer in zip(asked, answers, strict=True):
            expected = brute_force(path, int(code[0]), k, 64 if radius is None else radius, at)
            assert [(match.id, match.distance) for match in answer.matches] == expected


def _table(codes: ClickHouseCodes) -> str:
    return statements.codes_table(codes.content().version.partition("-")[2])


def test_served_it_gives_the_answers_of_the_gallery(cluster: Cluster, path: Path) -> None:
    far, own = LookupServer("--codes", cluster.url), LookupServer("--gallery", path)
    for code in some_codes(path, 6, seed=3):
        for query in ("k=3", "r=9&k=50", "at=48,11&k=8", "at=48,11&within_m=500&k=30"):
            address = f"/v1/near/{hex_of(code)}?{query}"
            ours, theirs = far.get(address).json(), own.get(address).json()
            for one, other in zip(ours["matches"], theirs["matches"], strict=True):
                assert one["meters"] == pytest.approx(other["meters"])
                assert one["penalty"] == pytest.approx(other["penalty"])
                same = ("id", "label", "distance")
                assert [one[name] for name in same] == [other[name] for name in same]
    assert far.get("/readyz").status == 200
    version = far.get("/v1/content").json()
    assert version["codes"] == 900
    assert far.get(address, If_None_Match=f'"{version["version"]}"').status == 304
    assert far.end() == own.end() == 0


def test_a_dead_and_a_frozen_replica_change_no_answer(cluster: Cluster, path: Path) -> None:
    codes = ClickHouseCodes(parse_address(cluster.url))
    cluster.kill(3)
    _check(codes, path)
    cluster.kill(0)  # the host that was asked so far
    _check(codes, path)
    for number in (0, 3):
        cluster.start(number)
        cluster.until_up(number)
    cluster.freeze(1)
    try:
        _check(codes, path)
        _check(codes, path)
    finally:
        cluster.thaw(1)
    cluster.freeze(2)
    try:
        _check(codes, path)
    finally:
        cluster.thaw(2)


def test_a_missing_shard_is_an_error(cluster: Cluster, path: Path) -> None:
    codes = ClickHouseCodes(parse_address(cluster.url))
    server = LookupServer("--codes", cluster.url)
    code = some_codes(path, 1)[0]
    for number in (2, 3):
        cluster.kill(number)
    try:
        for _ in range(12):
            with pytest.raises(RemoteError, match="a shard is missing"):
                codes.near([Query(code, Scope(5))])
        answer = server.get(f"/v1/near/{hex_of(code)}")
        assert answer.status == 503
        assert "ClickHouse" in answer.json()["error"]
        assert server.get("/readyz").status == 503
        assert server.get("/healthz").status == 200
        refused = run_cli("serve", "--codes", cluster.url)
        assert refused.returncode == 11
        assert len(refused.stderr.splitlines()) == 1
    finally:
        for number in (2, 3):
            cluster.start(number)
            cluster.until_up(number)
    _check(codes, path)
    assert server.get("/readyz").status == 200
    assert server.end() == 0


def test_a_shard_without_its_rows_is_an_error(cluster: Cluster, path: Path) -> None:
    codes = ClickHouseCodes(parse_address(cluster.url))
    table = _table(codes)
    for host in codes._server.address.hosts[2:]:
        codes._server.at(host).execute(f"RENAME TABLE {table}_local TO {table}_hidden")
    try:
        with pytest.raises(RemoteError, match="a shard is missing"):
            codes.content()
        for host in codes._server.address.hosts[2:]:
            codes._server.at(host).execute(f"CREATE TABLE {table}_local AS {table}_hidden")
        codes._counted_s = 0  # as after a minute
        with pytest.raises(RemoteError, match=r"of 900 codes are there \(load the gallery again"):
            codes.content()
        for host in codes._server.address.hosts[2:]:
            codes._server.at(host).execute(f"DROP TABLE {table}_local")
    finally:
        for host in codes._server.address.hosts[2:]:
            codes._server.at(host).execute(f"RENAME TABLE {table}_hidden TO {table}_local")
    codes.content()


def test_loading_again_replaces_everything_at_once(
    cluster: Cluster, path: Path, tmp_path: Path
) -> None:
    address = parse_address(cluster.url)
    codes = ClickHouseCodes(address)
    other = tmp_path / "other.sqlite"
    fill_gallery(other, 50, seed=5)
    before = codes.content()
    cluster.kill(3)
    with pytest.raises(RemoteError):  # each replica must get it
        load_gallery(other, address, "codes")
    cluster.start(3)
    cluster.until_up(3)
    assert codes.content() == before
    after = load_gallery(other, address, "codes")
    codes._read_s = 0
    assert codes.content() == after
    _check(codes, other)
    load_gallery(path, address, "codes")
    codes._read_s = 0
    _check(codes, path)
    tables = codes._server.rows("SELECT count() FROM system.tables WHERE database = 'default'")
    assert int(tables[0][0]) == 5, "the versions, and the tables of this and the last load"
    with pytest.raises(InputError, match="no cluster nine"):
        load_gallery(other, address, "nine")
    with pytest.raises(InputError, match="4 hosts, and the address names 1"):
        load_gallery(other, parse_address(cluster.url.split(",")[0] + "/default"), "codes")


def test_a_profile_that_hides_missing_shards_has_no_effect(tmp_path: Path) -> None:
    """As with skip_unavailable_shards = 1, with which half of the codes answer for all."""
    hiding = Cluster(tmp_path / "c", "<skip_unavailable_shards>1</skip_unavailable_shards>")
    try:
        path = tmp_path / "g.sqlite"
        fill_gallery(path, 60)
        address = parse_address(hiding.url)
        with pytest.raises(GalleryNotFoundError, match="nothing has been loaded"):
            ClickHouseCodes(address)
        load_gallery(path, address, "codes")
        codes = ClickHouseCodes(address)
        for number in (2, 3):
            hiding.kill(number)
        plain = ClickHouse(address)
        plain._prepare(address.hosts[0])
        plain._settings = {}
        table = statements.codes_table(read_stamp(codes))
        assert int(plain.rows(f"SELECT count() FROM {table}")[0][0]) < 180, "the trap is real"
        with pytest.raises(RemoteError, match="ClickHouse"):
            codes.near([Query(some_codes(path, 1)[0], Scope(5))])
    finally:
        hiding.close()


def read_stamp(codes: ClickHouseCodes) -> str:
    assert codes._loaded
    return codes._loaded.stamp


def test_a_user_who_may_not_change_settings_is_refused(tmp_path: Path) -> None:
    profile = "<skip_unavailable_shards>1</skip_unavailable_shards><readonly>1</readonly>"
    strict = Cluster(tmp_path / "c", profile)
    try:
        with pytest.raises(RemoteError, match=r"ClickHouse|does not apply"):
            ClickHouseCodes(parse_address(strict.url))
    finally:
        strict.close()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
def test_the_number_of_ones_without_bit_count(values: list[int]) -> None:
    """The SQL of old servers, in Python's integers of 64 bits."""
    functions = {
        "toUInt64": lambda value: value % 2**64,
        "toUInt16": int,
        "bitXor": lambda a, b: a ^ b,
        "bitAnd": lambda a, b: a & b,
        "bitShiftRight": lambda a, bits: (a % 2**64) >> bits,
    }
    code = np.array(values, np.uint64)
    rows = {f"code{number}": 0x0123456789ABCDEF for number in range(len(values))}
    sql = statements.distance(code, has_bit_count=False)
    expected = hamming(code, np.full(len(values), 0x0123456789ABCDEF, np.uint64))
    assert eval(sql, {}, {**functions, **rows}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://host/db",
        "clickhouse://host",
        "clickhouse://host/a b",
        "clickhouse://host:0/db",
        "clickhouse://host:x/db",
        "clickhouse:///db",
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(InputError, match=r"docs/SERVER\.md has an example"):
        parse_address(text)


def test_addresses() -> None:
    address = parse_address("clickhouses://me@a,b:9/db")
    assert (address.hosts, address.user, address.tls) == (("a:8443", "b:9"), "me", True)
    with pytest.raises(InputError, match="in a file") as caught:
        parse_address("clickhouse://me:secret@a/db")
    assert "secret" not in str(caught.value)


def test_an_unknown_server_is_one_line(tmp_path: Path) -> None:
    done = run_cli("serve", "--codes", "clickhouse://127.0.0.1:1/default")
    assert done.returncode == 11
    assert done.stderr.splitlines() == [
        "edge-runtime: 127.0.0.1:1: no answer: Connection refused (check the address)"
    ]
