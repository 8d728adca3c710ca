"""`edge-runtime sign`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.cli.common import echo


@click.command("sign")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your private key, or the public key of one that the ssh agent holds.",
)
def command(path: Path, key: Path) -> None:
    """Sign PATH, the folder of a bundle or a model file, with an OpenSSH key.

    The signature is written beside the manifest or the file, with the suffix .sig. A damaged
    bundle is not signed. A model's feature prior is signed with it.
    """
    from edge_runtime.bundle import is_bundle, verify_files
    from edge_runtime.model import locate_prior
    from edge_runtime.trust.manifest import MANIFEST, read_manifest
    from edge_runtime.trust.signature import BUNDLE, MODEL

    if is_bundle(path):
        verify_files(path, read_manifest(path))
        _sign(path / MANIFEST, key, BUNDLE)
        return
    _check_whole(path)
    for file in filter(None, (path, locate_prior(path))):
        _sign(file, key, MODEL)


def _check_whole(model: Path) -> None:
    """Raise `SignatureError` if weights are in other files, which the signature would not cover."""
    from edge_runtime.errors import ModelInvalidError, SignatureError
    from edge_runtime.onnx_file.structure import read_structure
    from edge_runtime.onnx_file.wire import MalformedError
    from edge_runtime.system.files import open_regular

    try:
        with open_regular(model) as file:
            others = read_structure(model, file).files
    except MalformedError as error:
        raise ModelInvalidError(f"not an ONNX model: {error}", where=model) from error
    if others:
        raise SignatureError(
            f"not signed: some of its weights are in {others[0].name}",
            where=model,
            remedy="compile it (make compile) and sign the bundle, or save it as one file",
        )


def _sign(file: Path, key: Path, kind: str) -> None:
    """Write the signature of `file`; it is complete and on the disk, or unchanged."""
    from edge_runtime.system.durable import write_file
    from edge_runtime.trust.signature import SUFFIX, sign

    signature = sign(file.read_bytes(), key, kind=kind, where=file)
    out = file.with_name(file.name + SUFFIX)
    write_file(out, signature)
    echo(f"{out}: signed with {key}")
