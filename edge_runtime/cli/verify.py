"""`edge-runtime verify`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.cli.common import echo, json_option, print_json


@click.command("verify")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@json_option
def command(path: Path, as_json: bool) -> None:
    """Check who signed PATH, the folder of a bundle or a model file.

    The keys are those that this machine accepts: /etc/edge-runtime/trusted_keys, or trusted_keys in
    the folder $EDGE_RUNTIME_TRUST. The exit code is 14 if none of them signed it.
    """
    from edge_runtime.bundle import is_bundle, verify_files
    from edge_runtime.errors import TrustStoreError
    from edge_runtime.trust.files import signed_content
    from edge_runtime.trust.manifest import verify_manifest
    from edge_runtime.trust.store import FOLDER, FOLDER_VARIABLE, TRUSTED, installed_keys

    store = installed_keys()
    if store is None:
        raise TrustStoreError(
            "no key is installed, so signatures are neither required nor checked",
            where=FOLDER / TRUSTED,
            remedy=f"install your key: make trust HOST=pi@board, or set {FOLDER_VARIABLE}",
        )
    if is_bundle(path):
        key, manifest = verify_manifest(path, store)
        verify_files(path, manifest)
    else:
        _, key = signed_content(path, store)
    if as_json:
        print_json({"path": str(path), "signed_by": key.name, "fingerprint": key.fingerprint})
    else:
        echo(f"{path}: signed by {key.name} ({key.fingerprint})")
