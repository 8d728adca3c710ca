"""What pyproject.toml cannot say: the compiled parts.

They are optional. Where there is no C compiler, the package installs all the same: it looks up with
numpy, with identical answers, and the profiler does not know what a core can do at best.
"""

from pathlib import Path

from setuptools import Extension, setup


def extension(name: str, folder: str, *flags: str) -> Extension:
    """Of all C files in `folder`, for every Python from 3.11 on."""
    return Extension(
        f"edge_runtime.{name}",
        sources=sorted(map(str, Path(folder).glob("*.c"))),
        depends=sorted(map(str, Path(folder).glob("*.h"))),
        define_macros=[("Py_LIMITED_API", "0x030B0000")],
        py_limited_api=True,
        extra_compile_args=["-O3", "-Wall", "-Wextra", *flags],
        optional=True,
    )


setup(
    ext_modules=[
        extension("_hamming", "edge_runtime/native", "-std=c11"),
        # GNU C: a product and a sum become one multiply-add, as in the networks' kernels.
        extension("_peak", "edge_runtime/profiler/native", "-std=gnu11", "-ffp-contract=fast"),
    ],
    # One wheel for every Python from 3.11 on.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
