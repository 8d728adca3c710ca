"""Signatures in OpenSSH's format, made and verified by `ssh-keygen -Y`.

Every board that is reached over ssh has this program. docs/SIGNING.md compares it with libraries.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from edge_runtime.errors import SignatureError, TrustStoreError
from edge_runtime.trust.memory import SealedFile
from edge_runtime.trust.store import PRINCIPAL, Key, TrustStore, fingerprint

SUFFIX = ".sig"
BUNDLE, MODEL, RELEASE = "edge-runtime-bundle", "edge-runtime-model", "edge-runtime-release"
"""Namespaces: a signature of one kind of content is not valid for another."""
MAX_SIGNATURE_BYTES = 1 << 14
LIMIT_S = 60.0
_verified: dict[tuple[str, bytes, str, TrustStore], Key] = {}
"""What this process has verified, by digest."""


def verify(content: bytes, signature: bytes, store: TrustStore, *, kind: str, where: object) -> Key:
    """Return the trusted key that made `signature` of `content` for the namespace `kind`.

    `where` names the content in errors. Raises `SignatureError` if the content was changed or the
    key is unknown or revoked, and `TrustStoreError` if nothing can be verified.
    """
    done = (hashlib.sha256(content).hexdigest(), signature, kind, store)
    if done not in _verified:
        made_by = _signer(signature, where)
        key = next((key for key in store.keys if key.fingerprint == made_by), None)
        if key is None:
            raise SignatureError(
                f"signed by {made_by}, which is not a trusted key",
                where=where,
                remedy=f"sign it with a key that {store.path} lists",
            )
        refused = _refusal(content, signature, store, kind)
        if refused is not None:
            why = "the key is revoked" if made_by in store.revoked_keys else refused
            raise SignatureError(
                f"signed by {key.name} ({made_by}), but {why}",
                where=where,
                remedy="restore it, or sign it with a key that is trusted and valid",
            )
        _verified[done] = key
    return _verified[done]


def sign(content: bytes, key: Path, *, kind: str, where: object) -> bytes:
    """Return the signature of `content` by the private `key` for the namespace `kind`.

    ssh-keygen asks for the passphrase or uses the ssh agent. Raises `SignatureError`.
    """
    code, output, message = _run(["sign", "-f", str(key), "-n", kind], content)
    if code:
        raise SignatureError(
            f"not signed: {message or 'ssh-keygen failed'}",
            where=where,
            remedy="check KEY, or make one: make keys",
        )
    return output


def _refusal(content: bytes, signature: bytes, store: TrustStore, kind: str) -> str | None:
    """Return None if ssh-keygen accepts the signature, otherwise its reason."""
    files = [SealedFile("trusted", store.trusted), SealedFile("signature", signature)]
    options = ["-f", str(files[0].path), "-s", str(files[1].path)]
    if store.revoked is not None:
        files.append(SealedFile("revoked", store.revoked))
        options += ["-r", str(files[2].path)]
    try:
        command = ["verify", "-I", PRINCIPAL, "-n", kind, *options]
        code, _, message = _run(command, content, files)
    finally:
        for file in files:
            file.close()
    if code == 0:
        return None
    return {
        "Signature verification failed: incorrect signature": "it was changed since",
        "Couldn't verify signature: namespace does not match": "the signature is for other content",
        "": "the key is not accepted",
    }.get(message, message.replace(str(files[0].path), store.path.name))


def _run(
    arguments: list[str], content: bytes, files: list[SealedFile] | None = None
) -> tuple[int, bytes, str]:
    """Return the exit code, the output and the last message of `ssh-keygen -Y arguments`."""
    import subprocess  # slow to import, and needed only where a key is installed

    command = ["ssh-keygen", "-Y", *arguments]
    descriptors = [file.descriptor for file in files or []]
    try:
        done = subprocess.run(
            command,
            input=content,
            capture_output=True,
            check=False,
            pass_fds=descriptors,
            timeout=None if arguments[0] == "sign" else LIMIT_S,  # a person types, or touches a key
        )
    except FileNotFoundError as error:
        raise TrustStoreError(
            "not found, but signatures are verified with it",
            where="ssh-keygen",
            remedy="sudo apt install openssh-client",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrustStoreError(f"cannot be run: {error}", where="ssh-keygen") from error
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return done.returncode, done.stdout, lines[-1].strip() if lines else ""


def _signer(signature: bytes, where: object) -> str:
    """Return the fingerprint of the key that `signature` names, unverified."""
    import base64

    try:
        text = signature.decode("ascii")
        body = text.partition("-----BEGIN SSH SIGNATURE-----")[2].partition("-----END")[0]
        blob = base64.b64decode("".join(body.split()), validate=True)
        magic, _version, length = struct.unpack_from(">6sII", blob)
        if magic != b"SSHSIG" or length > len(blob) - 14:
            raise ValueError("not a signature")
    except (ValueError, struct.error) as error:
        raise SignatureError(
            "its signature is damaged", where=where, remedy="copy it again, or sign it again"
        ) from error
    return fingerprint(blob[14 : 14 + length])
