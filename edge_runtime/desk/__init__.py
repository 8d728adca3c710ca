"""The desk: the only place that signs versions of a fleet's gallery. It is never on a board."""

from edge_runtime.errors import ExtraMissingError

try:
    import cryptography  # noqa: F401
    import securesystemslib.signer  # noqa: F401
    import tuf.api.metadata  # noqa: F401
except ImportError as error:
    raise ExtraMissingError(
        f"cannot load the desk: {error}", where="desk", remedy="pip install edge-runtime[desk]"
    ) from error
