"""What pyproject.toml cannot declare: the compiled parts, and the model inside the wheel.

The compiled parts are optional. Without a C compiler the package still installs. The lookup then
runs on numpy, with identical answers, and the profiler does not measure a core's peak rate.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

CARRIED = (
    Path("models/mobilenet_v1_general_int8.onnx"),
    Path("models/mobilenet_v1_general.prior.npz"),
)
"""The model that the wheel carries in `edge_runtime/data/`, and its feature prior
(`edge_runtime.model.find_model`, `find_prior`)."""


class BuildWithModel(build_py):
    """Copies the model from models/ into the package, so that git holds it once.

    A checkout finds models/ itself, so an editable install copies nothing. Sources without models/
    (deploy/parcel.sh, whose bundle holds the model) make a package without a model.
    """

    def run(self) -> None:
        """Build the modules, then add the model and its prior."""
        super().run()
        data = Path(self.build_lib, "edge_runtime", "data")
        for file in CARRIED:
            if file.is_file() and not self.editable_mode:
                self.mkpath(str(data))
                self.copy_file(str(file), str(data / file.name))


def extension(name: str, folder: str, *flags: str) -> Extension:
    """Return the extension module made of all C files in `folder`, for Python 3.11 and newer."""
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
    cmdclass={"build_py": BuildWithModel},
    ext_modules=[
        extension("_hamming", "edge_runtime/native", "-std=c11"),
        # GNU C fuses a multiply and an add into one instruction, as the networks' kernels do.
        extension("_peak", "edge_runtime/profiler/native", "-std=gnu11", "-ffp-contract=fast"),
    ],
    # One wheel for every Python from 3.11 on.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
