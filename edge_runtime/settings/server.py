"""The keys of the server that a daemon asks."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edge_runtime.settings.table import Table


class ServerSettings(Table, frozen=True, kw_only=True):
    """A server of codes (`edge-runtime serve`) that is asked for what the gallery does not know.

    Only codes are sent, and features if you turn them on. Without this table: nothing is sent.
    """

    url: Annotated[
        str,
        Meta(
            pattern=r"^https?://",
            description="Address of the server. A certificate of your own: set SSL_CERT_FILE.",
        ),
    ]
    token_file: Annotated[
        str,
        Meta(
            description="A file whose first line is the server's token; no other user may read it."
        ),
    ] = ""
    timeout_s: Annotated[
        float,
        Meta(gt=0, le=60, description="Longest time that a question may take, seconds."),
    ] = 2.0
    radius: Annotated[
        int,
        Meta(
            ge=-1,
            le=4096,
            description="Largest distance of a match on the server, bits. -1: the model's own "
            "radius. The larger the gallery, the smaller it should be.",
        ),
    ] = -1
    features: Annotated[
        bool,
        Meta(
            description="Send the features behind the code, about 1.4 kB, too. The server then "
            "ranks by similarity, if its gallery has features. They tell more about the picture."
        ),
    ] = False
    refresh_s: Annotated[
        float,
        Meta(
            ge=1,
            le=86400,
            description="Seconds after which the server is asked whether its answers still hold.",
        ),
    ] = 600.0
