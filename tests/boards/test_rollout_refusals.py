"""deploy/rollout.py trusts nothing in its spool: what it refuses changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fleet.releases import ID, Board, bundle, packed, rollout
from tests.support.keys import install, make_key, needs_ssh_keygen

REFUSED: dict[str, Callable[[Board], object]] = {
    "differs from its digest": lambda board: board.request(sha256="0" * 64),
    "differs from its digest.": lambda board: board.request(bytes=100),
    "is missing": lambda board: (
        board.request(),
        (board.spool / f"{ID}.tar").rename(board.folder / "gone"),
    ),
    "an entry that no bundle has": lambda board: board.request({"../escape": b"x", **bundle()}),
    "an entry that no bundle has.": lambda board: board.request(
        packed({"x": b""}, tarfile.SYMTYPE)
    ),
    "cannot be read": lambda board: board.request(b"not a tar" * 100),
    "has no bundle": lambda board: board.request({"model.onnx": b""}),
    "model.onnx of the bundle is damaged": lambda board: board.request(
        {**bundle(), "model.onnx": b"changed"}
    ),
    "does not list the files: 'extra.py'": lambda board: board.request(
        {**bundle(), "extra.py": b"changed"}
    ),
    "manifest.json is malformed": lambda board: board.request({"manifest.json": b"[]"}),
    "doctor: bundle: compiled for another CPU": lambda board: board.request(
        bundle(
            says={
                "findings": [
                    {"status": "warn", "name": "bundle", "detail": "compiled for another CPU"}
                ]
            }
        )
    ),
    "doctor: model: corrupt": lambda board: board.request(
        bundle(says={"findings": [{"status": "fail", "name": "model", "detail": "corrupt"}]})
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_used_changes_nothing(board: Board, why: str) -> None:
    REFUSED[why](board)
    assert why.rstrip(".") in board.take()
    assert (board.text, board.record["state"]) == ("old", "failed")
    assert board.restarts == []
    assert [path.name for path in (board.prefix / "releases").iterdir()] == ["base"]
    assert not (board.folder / "escape").exists() and not (board.prefix / "rollout").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\0" * 70_000,
        json.dumps({"id": "../../etc", "attempt": 1, "action": "install"}),
        json.dumps({"id": ID, "attempt": 1, "action": "install", "gallery": "../x.sqlite"}),
        json.dumps({"id": ID, "attempt": True, "action": "install"}),
        json.dumps({"id": ID, "attempt": 1, "action": "install", "bytes": 1 << 40}),
        json.dumps({"id": ID, "attempt": 1, "action": "run"}),
        json.dumps({"id": ID, "attempt": 1, "action": "install", "command": "x"}),
    ],
)
def test_a_request_that_is_none_changes_nothing(board: Board, content: str) -> None:
    (board.spool / "request.json").write_text(content)
    assert "request.json" in board.take()
    assert not (board.prefix / "rollout.json").exists()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_no_header_is_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    """It may announce gigabytes, and this runs as root."""
    member = tarfile.TarInfo("model/x")
    member.type, member.size = kind, 1 << 32
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(rollout.RefusedError, match="no bundle has"):
        rollout.unpack(tmp_path / "a.tar", tmp_path / "model")


def test_no_link_of_the_spool_is_followed(board: Board) -> None:
    board.request()
    secret = board.folder / "secret"
    (board.spool / "request.json").rename(secret)
    (board.spool / "request.json").symlink_to(secret)
    assert "Too many levels of symbolic links" in board.take()
    (board.spool / "request.json").unlink()
    os.mkfifo(board.spool / "request.json")
    assert "not a regular file" in board.take()
    board.spool.rename(board.folder / "elsewhere")
    board.spool.symlink_to(board.folder / "elsewhere")
    assert "directory" in board.take()
    assert not (board.prefix / "rollout.json").exists()


@needs_ssh_keygen
def test_a_board_with_keys_takes_only_signed_bundles(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = make_key(tmp_path, "owner"), make_key(tmp_path, "other")
    trust = install(tmp_path / "trust", owner)
    monkeypatch.setattr(rollout, "TRUST", trust)

    def signed(key: Path) -> dict[str, bytes]:
        files = bundle()
        manifest = tmp_path / "manifest.json"
        manifest.write_bytes(files["manifest.json"])
        manifest.with_name("manifest.json.sig").unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "edge-runtime-bundle"]
        subprocess.run([*command, "-f", key, manifest], check=True)
        return {**files, "manifest.json.sig": (tmp_path / "manifest.json.sig").read_bytes()}

    def answer(files: dict[str, bytes], attempt: int) -> str:
        board.request(files, attempt=attempt)
        return board.take()

    assert "is not signed, and this board" in answer(bundle(), 1)
    assert "not signed by a key that this board trusts" in answer(signed(other), 2)
    changed = {**signed(owner), "manifest.json": bundle(note=1)["manifest.json"]}
    assert "not signed by a key that this board trusts" in answer(changed, 3)
    trust.chmod(0o777)
    assert "other users can change" in answer(signed(owner), 4)
    trust.chmod(0o755)
    install(trust, owner, revoked=(owner,))
    assert "not signed by a key that this board trusts" in answer(signed(owner), 5)
    (trust / "revoked_keys").unlink()
    assert board.text == "old"
    assert answer(signed(owner), 6) == ""
    assert board.text == "good"
