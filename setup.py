"""What pyproject.toml cannot say: the compiled lookup.

It is optional. Where there is no C compiler, the package installs all the same and looks up with
numpy, with identical answers.
"""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "edge_runtime._hamming",
            sources=sorted(map(str, Path("edge_runtime/native").glob("*.c"))),
            depends=sorted(map(str, Path("edge_runtime/native").glob("*.h"))),
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra"],
            optional=True,
        )
    ],
    # One wheel for every Python from 3.11 on.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
