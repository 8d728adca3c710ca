"""Compile the hash network for one kind of CPU, and verify the result.

Exit codes: docs/ERRORS.md. 9 means that the verification rejected the bundle.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED, EdgeRuntimeError
from edge_runtime.model import find_model

# tvm_ffi would import torch if it is installed, which takes half a gigabyte for nothing.
os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")


@click.command(help=__doc__)
@click.argument("target")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True
)
@click.option("--model", type=click.Path(path_type=Path), help="ONNX file of the hash network.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the bundle.  [default: build/TARGET]"
)
@click.option(
    "--trials",
    type=click.IntRange(0),
    help="Search again, with this many trials per workload.  "
    "[default: search only workloads without a tuning record]",
)
@click.option(
    "--runner", default="", help="local, emulator or rpc:HOST:PORT.  [default: by target]"
)
@click.option(
    "--search",
    type=click.Choice(["neighbors", "metaschedule"]),
    default="neighbors",
    show_default=True,
    help="Search strategy.",
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    help="Folder of photos to calibrate and verify on.  [default: those of scikit-image]",
)
@click.option(
    "--pictures",
    type=click.IntRange(0),
    default=0,
    help="Pictures to verify on, disturbed views included.  [default: 1000 for host, else 8]",
)
@click.option("--records", type=click.Path(path_type=Path), help="Folder of the tuning records.")
def main(target: str, **options: Any) -> None:
    """Run the command; see the module."""
    try:
        sys.exit(_main(target, **options))
    except EdgeRuntimeError as error:
        click.echo(f"compile: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("compile: interrupted; the search results so far are saved", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _main(
    name: str, *, model: Path | None, out: Path | None, trials: int | None, **options: Any
) -> int:
    from compile.target.toolchain import check_tvm

    # ONNX Runtime's codes are computed on a second thread. By default it waits up to 5 ms for the
    # interpreter each time numpy releases it.
    sys.setswitchinterval(1e-4)
    check_tvm()
    from compile.build import TRIALS, compile_bundle
    from compile.target.description import read_target
    from compile.tuning.progress import Progress
    from compile.verify.request import Request

    target = read_target(name)
    with Progress(TRIALS if trials is None else trials) as progress:
        result = compile_bundle(
            Request(
                model=find_model(model),
                target=target,
                out=out or Path("build") / name,
                trials=trials,
                log=progress.log,
                on_trial=progress.trial,
                **options,
            )
        )
    _print_evidence(result.evidence)
    if result.status == "rejected":
        click.echo(
            f"compile: rejected: not equal or not faster; see {result.bundle}/evidence.json. "
            "Without this bundle the runtime uses ONNX Runtime",
            err=True,
        )
        return EXIT_CHECK_FAILED
    if result.status == "unverified":
        click.echo(f"bundle  {result.bundle} (NOT VERIFIED: use it with --allow-unverified)")
        return 0
    click.echo(f"bundle  {result.bundle}")
    return 0


def _print_evidence(evidence: dict[str, Any]) -> None:
    from compile.verify.criteria import VIEWS, Parity

    if evidence["parity"]:
        parity = Parity.read(evidence["parity"])
        click.echo(
            f"equal   {parity.share_equal:.4%} of {parity.bits:,} bits (target {parity.bar:.2%}), "
            f"{parity.summary}"
        )
        if parity.emulated and parity.pictures < VIEWS:
            click.echo(f"        verified on few pictures; PICTURES={VIEWS} takes longer")
    if accuracy := evidence["accuracy"]:
        click.echo(
            f"finds   MAP@100 {accuracy['map100']:.2%}, fp32 {accuracy['map100_reference']:.2%}, "
            f"on {accuracy['views']:,} views (target: at most {accuracy['bar']:.1%} less)"
        )
    if speed := evidence["speed"]:
        click.echo(
            f"speed   {speed['ratio']:.2f}x ONNX Runtime's time"
            + (" (estimate)" if speed["estimate"] else "")
            + f": {speed['ours']:g} against {speed['onnxruntime']:g} {speed['unit']}"
        )
    click.echo(
        f"size    {evidence['library_bytes']:,} bytes, "
        f"working memory {evidence['arena_bytes']:,} bytes"
    )


if __name__ == "__main__":
    main()
