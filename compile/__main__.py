"""The compile command.

    python -m compile TARGET [--precision fp32|fp16|int8] [--model FILE] [--out DIR] [--trials N]
                             [--runner local|emulator|rpc:HOST:PORT]
                             [--search neighbours|metaschedule]

Exit codes: docs/ERRORS.md; 9 if the gate rejected the bundle.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import EXIT_CHECK_FAILED, EXIT_INTERRUPTED, EdgeRuntimeError
from edge_runtime.model import find_model

# With torch installed, tvm_ffi would import it: half a gigabyte for nothing.
os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")


@click.command(help=__doc__)
@click.argument("target")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True
)
@click.option("--model", type=click.Path(path_type=Path), help="The ONNX hash network.")
@click.option("--out", type=click.Path(path_type=Path), help="The bundle's folder: build/TARGET.")
@click.option("--trials", type=click.IntRange(0), help="Choices to try for each workload anew.")
@click.option(
    "--runner", default="", help="local, emulator or rpc:HOST:PORT.  [default: by target]"
)
@click.option(
    "--search",
    type=click.Choice(["neighbours", "metaschedule"]),
    default="neighbours",
    show_default=True,
    help="What says which choice to try next.",
)
@click.option("--photos", type=click.Path(path_type=Path), help="Photos to prove parity on.")
@click.option(
    "--pictures",
    type=click.IntRange(0),
    default=0,
    help="How many of them, disturbed ones included.",
)
@click.option("--records", type=click.Path(path_type=Path), help="Folder of the tuning records.")
def main(target: str, **options: Any) -> None:
    """Command: see the module."""
    try:
        sys.exit(_main(target, **options))
    except EdgeRuntimeError as error:
        click.echo(f"compile: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("compile: interrupted; what the search has found is kept", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _main(
    name: str, *, model: Path | None, out: Path | None, trials: int | None, **options: Any
) -> int:
    from compile.target.toolchain import check_tvm

    # ONNX Runtime's codes are made on a thread beside the compile. By default each waits up to
    # 5 ms for the interpreter whenever numpy has let go of it.
    sys.setswitchinterval(1e-4)
    check_tvm()
    from compile.build import TRIALS, compile_bundle
    from compile.target.description import read_target
    from compile.tuning.progress import Progress
    from compile.verify.criteria import VIEWS, Parity
    from compile.verify.request import Request

    target = read_target(name)
    with Progress(TRIALS if trials is None else trials) as progress:
        result = compile_bundle(
            Request(
                model=find_model(model),
                target=target,
                out=out or Path("build") / name,
                trials=trials,
                tell=progress.tell,
                progress=progress.trial,
                **options,
            )
        )
    parity, speed = Parity.read(result.evidence["parity"]), result.evidence["speed"]
    click.echo(
        f"equal   {parity.share_equal:.4%} of {parity.bits:,} bits {parity.told} "
        f"(bar {parity.bar:.2%})"
    )
    if parity.emulated and parity.pictures < VIEWS:
        click.echo(f"        a few pictures only; PICTURES={VIEWS} proves it at length")
    if accuracy := result.evidence["accuracy"]:
        click.echo(
            f"finds   MAP@100 {accuracy['map100']:.2%}, fp32 {accuracy['map100_reference']:.2%}, "
            f"over {accuracy['views']:,} views (bar {accuracy['bar']:.1%} less)"
        )
    click.echo(
        f"speed   {speed['ours']:g} {speed['unit']}, ONNX Runtime {speed['onnxruntime']:g}: "
        f"{speed['ratio']:.2f} of it"
        + (" (an estimate, not a measurement)" if speed["estimate"] else "")
    )
    click.echo(
        f"size    {result.evidence['library_bytes']:,} bytes, "
        f"working memory {result.evidence['arena_bytes']:,}"
    )
    if result.promoted:
        click.echo(f"bundle  {result.bundle}")
        return 0
    click.echo(
        f"compile: rejected, see {result.bundle}/evidence.json; the portable engine stands",
        err=True,
    )
    return EXIT_CHECK_FAILED


if __name__ == "__main__":
    main()
