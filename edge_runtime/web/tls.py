"""TLS with the owner's certificate."""

from __future__ import annotations

import ssl

from edge_runtime.errors import ConfigError, storage_error
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.settings.secrets import MAX_BYTES, check_private
from edge_runtime.system.files import open_regular


def open_tls(settings: HttpSettings) -> ssl.SSLContext | None:
    """Return a context with the certificate of `settings`; None if they name none.

    Raises `ConfigError` if the files cannot be used.
    """
    if not settings.certificate_file:
        return None
    certificate, key = settings.certificate_file, settings.key_file
    text = b""
    for path in (certificate, key):
        try:
            with open_regular(path) as file:  # a FIFO would wait for a writer
                text = file.read(MAX_BYTES)
        except OSError as error:
            fault = storage_error(error, path)
            raise ConfigError(
                fault.what if fault else str(error),
                where=path,
                remedy="check its path and permissions",
            ) from error
    check_private(key)
    if b"ENCRYPTED" in text:
        raise ConfigError(
            "the key has a password", where=key, remedy=f"remove it: openssl pkey -in {key}"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", "") or "a file is in another format"
        mismatch = reason == "KEY_VALUES_MISMATCH"
        raise ConfigError(
            f"the key in {key} does not belong to this certificate"
            if mismatch
            else f"not a certificate with its key: {reason.replace('_', ' ').lower()}",
            where=certificate,
            remedy="both are PEM files, and the key has no password",
        ) from error
    return context


def _no_password() -> str:
    """Prevent a question on the terminal."""
    return ""
