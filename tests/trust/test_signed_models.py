"""With a key installed, only what its owner signed is loaded, and exactly those bytes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime import bundle as bundle_module
from edge_runtime.bundle import LIBRARY, MODEL, open_bundle, portable_model
from edge_runtime.engine import compiled, open_engine, portable
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import (
    BundleInvalidError,
    EdgeRuntimeError,
    ModelInvalidError,
    ModelNotFoundError,
    SignatureError,
    TrustError,
)
from edge_runtime.model import MODEL_FILE, PRIOR_FILE, find_model, find_prior
from edge_runtime.trust.files import checked_file
from edge_runtime.trust.manifest import MANIFEST, MANIFEST_SIGNATURE, read_manifest
from edge_runtime.trust.signature import BUNDLE, SUFFIX, sign, verify
from edge_runtime.trust.signature import MODEL as MODEL_KIND
from edge_runtime.trust.store import installed_keys
from tests.support.bundles import edit, picture
from tests.support.keys import install, make_key, needs_ssh_keygen, public
from tests.support.processes import ROOT, run_cli
from tests.support.tiny_onnx import TinyModel

pytestmark = needs_ssh_keygen
CODE = [3 << 8 | 5]
"""What the library of the test's bundle answers for `picture()`."""


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the private key of the owner, whose public half is installed."""
    monkeypatch.setattr("edge_runtime.trust.memory._copies", {})  # as in a new process
    key = make_key(tmp_path, "owner")
    monkeypatch.setenv("EDGE_RUNTIME_TRUST", str(install(tmp_path / "trust", key)))
    return key


def sign_bundle(bundle: Path, key: Path, kind: str = BUNDLE) -> None:
    sign_file(bundle / MANIFEST, key, kind)


def sign_file(file: Path, key: Path, kind: str = MODEL_KIND) -> None:
    signature = sign(file.read_bytes(), key, kind=kind, where=file)
    file.with_name(file.name + SUFFIX).write_bytes(signature)


def swap_library(bundle: Path) -> None:
    """Do what the attacker does: replace the native code and write its digest to the manifest."""
    library = bundle / LIBRARY
    library.write_bytes(library.read_bytes() + b"evil")
    files = read_manifest(bundle)["files"]
    content = library.read_bytes()
    files[LIBRARY] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(bundle, {"files": files})


def test_without_an_installed_key_no_signature_is_needed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge_runtime.trust.store.FOLDER", tmp_path / "missing")
    assert installed_keys() is None
    assert checked_file(bundle / LIBRARY) == bundle / LIBRARY
    swap_library(bundle)
    assert open_engine(bundle).name == "compiled"  # docs/THREAT_MODEL.md says so


def test_an_unsigned_bundle_is_refused_and_nothing_replaces_it(
    bundle: Path, owner: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for opened in (open_bundle, open_engine, portable_model, find_prior):
            with pytest.raises(SignatureError, match=r"bundle.*: not signed.*make sign BUNDLE="):
                opened(bundle)
        with pytest.raises(SignatureError, match="not signed"):
            PortableEngine(bundle / MODEL)
    assert not caplog.text  # no engine falls back


def test_a_signed_bundle_runs_from_sealed_memory(bundle: Path, owner: Path) -> None:
    sign_bundle(bundle, owner)
    engine = open_engine(bundle)
    assert engine.name == "compiled"
    assert engine.hash(picture()).tolist() == CODE
    mapped = Path("/proc/self/maps").read_text()
    assert f"memfd:{LIBRARY}" in mapped
    assert str(bundle / LIBRARY) not in mapped
    with pytest.raises(PermissionError), checked_file(bundle / LIBRARY).open("r+b") as copy:
        copy.write(b"changed")


def test_an_edited_digest_is_refused(bundle: Path, owner: Path) -> None:
    sign_bundle(bundle, owner)
    swap_library(bundle)
    with pytest.raises(SignatureError, match="it was changed since"):
        open_engine(bundle)


def test_a_changed_file_of_a_signed_bundle_is_refused(bundle: Path, owner: Path) -> None:
    sign_bundle(bundle, owner)
    for name in (LIBRARY, PRIOR_FILE):
        file = bundle / name
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleInvalidError, match=f"{name}: damaged"):
            open_bundle(bundle)
        file.write_bytes(content)
    (bundle / "extra.npz").write_bytes(b"x")
    with pytest.raises(BundleInvalidError, match="does not list it"):
        checked_file(bundle / "extra.npz")


@pytest.mark.parametrize("name", [LIBRARY, MODEL, PRIOR_FILE])
def test_what_was_checked_is_loaded(
    name: str, bundle: Path, owner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone who can write the folder replaces a file right after its check."""
    if name != LIBRARY:
        edit(bundle, {"target.features": ["sve9"]})  # the portable engine runs
    sign_bundle(bundle, owner)
    expected = hashlib.sha256((bundle / name).read_bytes()).digest()

    def swapped(path: Path) -> Path:
        place = checked_file(path)
        if path.name == name:
            path.write_bytes(b"evil")
        return place

    for module in (compiled, portable, bundle_module):
        monkeypatch.setattr(module, "checked_file", swapped)
    monkeypatch.setattr("edge_runtime.model.checked_file", swapped)
    engine = open_engine(bundle)
    assert engine.name == ("compiled" if name == LIBRARY else "portable")
    assert engine.hash(picture()).shape == (1,)
    prior = find_prior(engine.model.path)
    assert prior and np.load(prior)["within"].size
    assert (bundle / name).read_bytes() == b"evil"
    assert hashlib.sha256(checked_file(bundle / name).read_bytes()).digest() == expected


def test_a_fallback_runs_only_the_signed_network(
    bundle: Path, owner: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(bundle, {"target.features": ["sve9"]})
    sign_bundle(bundle, owner)
    with caplog.at_level(logging.WARNING):
        assert open_engine(bundle).name == "portable"
    assert "this CPU lacks sve9" in caplog.text
    shutil.copy(ROOT / "models" / "mobilenet_v1_hash64_int8.onnx", bundle / MODEL)
    (bundle / MANIFEST_SIGNATURE).unlink()
    with pytest.raises(SignatureError):
        open_engine(bundle)


def test_a_plain_model_does_not_bypass_the_signature(bundle: Path, owner: Path) -> None:
    """Neither a bundle without its manifest nor a file in its place is loaded."""
    sign_bundle(bundle, owner)
    (bundle / MANIFEST).unlink()
    with pytest.raises(ModelNotFoundError):
        open_engine(bundle)
    with pytest.raises(SignatureError, match=r"model\.onnx: not signed"):
        open_engine(bundle / MODEL)


def test_a_plain_model_is_signed_with_its_prior(tmp_path: Path, owner: Path, other: Path) -> None:
    model, prior = tmp_path / "mine.onnx", tmp_path / "mine.prior.npz"
    shutil.copy(ROOT / "models" / MODEL_FILE, model)
    shutil.copy(find_prior(find_model()) or "", prior)
    with pytest.raises(SignatureError, match="not signed"):
        open_engine(model)
    done = run_cli("sign", model, "--key", owner)
    assert done.returncode == 0, done.stderr
    assert f"{prior}.sig: signed with" in done.stdout
    engine = open_engine(model)
    assert engine.model.path == str(model)
    assert find_prior(engine.model.path)
    prior.write_bytes(b"evil")
    with pytest.raises(SignatureError, match="it was changed since"):
        find_prior(model)
    sign_file(model, other)
    with pytest.raises(SignatureError, match="not a trusted key"):
        open_engine(model)


def test_weights_outside_the_signed_file_are_not_used(tmp_path: Path, owner: Path) -> None:
    model = TinyModel(location="w.data").write(tmp_path / "tiny.onnx")
    done = run_cli("sign", model, "--key", owner)
    assert done.returncode == 14, done.stderr
    assert "some of its weights are in w.data" in done.stderr
    sign_file(model, owner)
    with pytest.raises(ModelInvalidError, match=r"tiny\.onnx: .*w\.data"):
        open_engine(model)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a key that nobody installed."""
    return make_key(tmp_path, "other")


def test_the_model_of_the_package_needs_no_signature(owner: Path) -> None:
    assert open_engine().name == "portable"
    assert find_prior(find_model()) == ROOT / "models" / "mobilenet_v1_general.prior.npz"


def test_a_link_into_the_package_does_not_make_a_model_trusted(
    tmp_path: Path, owner: Path, bundle: Path
) -> None:
    link = tmp_path / "models"
    link.symlink_to(ROOT / "models")
    # The file itself: the link could lead elsewhere once it was checked.
    assert checked_file(link / MODEL_FILE) == ROOT / "models" / MODEL_FILE
    evil = tmp_path / "evil.onnx"
    evil.symlink_to(bundle / MODEL)
    with pytest.raises(SignatureError, match="not signed"):
        open_engine(evil)


@pytest.mark.parametrize("name", ["manifest.json.sig", "libedge.so", "model.onnx"])
def test_a_bundle_with_a_fifo_or_a_device_does_not_hang(
    bundle: Path, owner: Path, name: str
) -> None:
    sign_bundle(bundle, owner)
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with pytest.raises(EdgeRuntimeError, match=r"FIFO|does not match"):
        open_bundle(bundle)
    (bundle / name).unlink()
    (bundle / name).symlink_to("/dev/zero")
    with pytest.raises(EdgeRuntimeError, match=r"device|does not match"):
        open_bundle(bundle)


def test_keys_rotate_and_are_revoked(
    bundle: Path, owner: Path, other: Path, tmp_path: Path
) -> None:
    sign_bundle(bundle, other)
    with pytest.raises(SignatureError, match=r"signed by SHA256:\S+, which is not a trusted key"):
        open_bundle(bundle)
    install(tmp_path / "trust", owner, other)  # during the change, both are accepted
    for key in (owner, other):
        sign_bundle(bundle, key)
        assert open_bundle(bundle).library
    install(tmp_path / "trust", owner, other, revoked=(owner,))
    assert open_bundle(bundle).library
    sign_bundle(bundle, owner)
    with pytest.raises(
        SignatureError, match=r"signed by owner \(SHA256:\S+\), but the key is revoked"
    ):
        open_bundle(bundle)
    install(tmp_path / "trust", other)  # its line is removed as well
    with pytest.raises(SignatureError, match="not a trusted key"):
        open_bundle(bundle)


def test_a_key_has_an_end(bundle: Path, owner: Path, tmp_path: Path) -> None:
    sign_bundle(bundle, owner)
    for options, accepted in (
        ('valid-before="20990101"', True),
        ('valid-before="20200101"', False),
        ('valid-after="20990101"', False),
        (f'namespaces="{MODEL_KIND}"', False),
    ):
        line = f"# keys\n\nedge-runtime {options} {public(owner)}"
        (tmp_path / "trust" / "trusted_keys").write_text(line)
        if accepted:
            assert open_bundle(bundle).library
        else:
            with pytest.raises(SignatureError, match=r"signed by owner \(SHA256:\S+\), but \S"):
                open_bundle(bundle)


def test_a_signature_is_for_one_kind_of_content(bundle: Path, owner: Path) -> None:
    sign_bundle(bundle, owner, MODEL_KIND)
    with pytest.raises(SignatureError, match="the signature is for other content"):
        open_bundle(bundle)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), in_signature=st.booleans())
def test_no_flipped_bit_is_accepted(place: int, bit: int, in_signature: bool, owner: Path) -> None:
    store = installed_keys()
    assert store
    parts = [b'{"format": 1}' * 9, b""]
    parts[1] = sign(parts[0], owner, kind=BUNDLE, where="")
    assert verify(parts[0], parts[1], store, kind=BUNDLE, where="").name == "owner"
    changed = bytearray(parts[in_signature])
    changed[place % len(changed)] ^= 1 << bit
    parts[in_signature] = bytes(changed)
    try:
        verify(parts[0], parts[1], store, kind=BUNDLE, where="it")
    except TrustError:
        return
    # Only spaces, line ends and the closing line of the armor carry no meaning.
    assert in_signature
    assert _meaning(parts[1]) == _meaning(sign(parts[0], owner, kind=BUNDLE, where=""))


def _meaning(signature: bytes) -> bytes:
    return b"".join(signature.partition(b"-----END")[0].split())


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 100, b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END", b"x" * 100_000],
)
def test_a_damaged_signature_is_refused(bundle: Path, owner: Path, content: bytes) -> None:
    (bundle / MANIFEST_SIGNATURE).write_bytes(content)
    with pytest.raises(SignatureError, match=r"damaged|too large"):
        open_bundle(bundle)


def test_a_deep_or_large_manifest_is_refused(bundle: Path) -> None:
    for content, what in (("[" * 200_000, "cannot read"), (" " * 2_000_000, "larger than")):
        (bundle / MANIFEST).write_text(content)
        with pytest.raises(BundleInvalidError, match=what):
            open_bundle(bundle)


def test_many_openings_need_the_memory_of_one(bundle: Path, owner: Path) -> None:
    sign_bundle(bundle, owner)
    open_engine(bundle)
    count = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        open_engine(bundle)
    assert len(list(Path("/proc/self/fd").iterdir())) == count


def test_the_commands_refuse_with_their_own_exit_code(
    bundle: Path, owner: Path, tmp_path: Path
) -> None:
    photo = ROOT / "docs" / "demo.jpg"
    for arguments in (
        ("verify", bundle),
        ("query", "--model", bundle, "--gallery", tmp_path / "none.sqlite", photo),
        ("run", "--model", bundle, "--camera", photo.parent),
    ):
        done = run_cli(*arguments)
        assert done.returncode == 14, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1 and "not signed" in done.stderr
    done = run_cli("doctor", "--model", bundle)
    assert done.returncode == 9
    assert "FAIL  bundle       not signed" in done.stdout
    assert "ok    signatures   required, by owner SHA256:" in done.stdout

    done = run_cli("sign", bundle, "--key", owner)
    assert done.returncode == 0, done.stderr
    done = run_cli("verify", bundle, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signed_by"] == "owner"
    done = run_cli("doctor", "--model", bundle)
    assert "engine compiled" in done.stdout, done.stdout


def test_a_damaged_bundle_is_not_signed(bundle: Path, owner: Path, tmp_path: Path) -> None:
    (bundle / LIBRARY).write_bytes(b"x")
    done = run_cli("sign", bundle, "--key", owner)
    assert done.returncode == 4 and "damaged" in done.stderr
    assert not (bundle / MANIFEST_SIGNATURE).exists()
    done = run_cli("sign", ROOT / "models" / MODEL_FILE, "--key", tmp_path / "none")
    assert done.returncode == 14 and "check KEY" in done.stderr


def test_verification_without_a_key_says_so(bundle: Path, tmp_path: Path) -> None:
    done = run_cli("verify", bundle, EDGE_RUNTIME_TRUST=str(tmp_path))
    assert done.returncode == 14
    assert "trusted_keys: not found (check EDGE_RUNTIME_TRUST" in done.stderr
