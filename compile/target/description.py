"""The devices to compile for: profiles/devices/*.toml, and `host`, which is this machine.

To add a board, add a file there. Nothing else is needed.
"""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compile.target.vector_unit import PLAIN, SDOT, SMULL, VNNI, Vector
from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.report.budget import checked
from edge_runtime.system.cpu import cpu_features

DEVICES = Path(__file__).resolve().parents[2] / "profiles" / "devices"
TUNING = DEVICES.with_name("tuning")
"""Folder of the tuning records (compile/tuning/database.py)."""
HOST = "host"
X86_FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "bmi2")
"""CPU flags that compiled x86 code may use, besides those that begin with avx."""

COST = ("cycles_per_instruction", "cycles_per_l1_miss", "cycles_per_l2_miss")


@dataclass(frozen=True)
class Reference:
    """A published latency for this device."""

    what: str
    threads: int
    latency_ms: float
    source: str


@dataclass(frozen=True)
class Likeness:
    """The published measurements behind a device's estimated times (profiles/estimate/model.py)."""

    core: str
    """The core in profiles/calibration whose cycles are used."""
    memory: str
    """The published board with equally fast memory."""
    by_analogy: bool = False
    """This core has no published measurements; `core` is a similar one."""


@dataclass(frozen=True)
class Target:
    """A device to compile for."""

    name: str
    board: str
    triple: str
    """LLVM's target triple."""
    cpu: str
    """LLVM's name of the CPU."""
    tuned_as: str
    """The CPU whose pipeline LLVM schedules for; usually `cpu` itself."""
    attributes: tuple[str, ...]
    """LLVM attributes, such as +neon."""
    features: tuple[str, ...]
    """CPU features that the code needs, as named in /proc/cpuinfo."""
    cores: int
    clock_mhz: int
    l1d_kib: int
    l1d_ways: int
    l2_kib: int
    l2_ways: int
    memory_mib: int
    vector: Vector
    tuned_like: str = ""
    """The device whose tuning records apply if this one has none."""
    emulated_as: str = "max"
    """QEMU's name of the CPU."""
    cost: tuple[float, float, float] = (1.0, 8.0, 80.0)
    """Estimated cycles per instruction, per first-level miss and per second-level miss."""
    likeness: Likeness | None = None
    budgets: dict[str, float] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()

    @property
    def is_host(self) -> bool:
        """Whether the device is this machine."""
        return self.name == HOST

    def at(self, precision: str) -> Target:
        """Return this device with the vector unit of `precision`; raises `TargetError`."""
        if precision == "fp32":
            return self
        if precision == "int8":
            vector = replace(self.vector, dot_product_kind=self._dot_product_kind())
            return replace(self, vector=replace(vector, by_lane=vector.dot_product_kind == SDOT))
        if precision == "fp16" and "asimdhp" in self.features:
            return replace(self, vector=Vector(2 * self.vector.lanes, self.vector.by_lane))
        raise TargetError(
            "its CPU does not support fp16"
            if precision == "fp16"
            else f'unknown precision "{precision}"',
            where=self.name,
            remedy="compile for fp32" if precision == "fp16" else "use fp32, fp16 or int8",
        )

    def _dot_product_kind(self) -> str:
        if not self.triple.startswith("x86_64"):
            return SDOT if "asimddp" in self.features else SMULL
        wide = "avx512_vnni" in self.features and self.vector.lanes == 16
        return VNNI if wide else PLAIN

    @property
    def code_for(self) -> str:
        """The CPU that the code is compiled for, such as aarch64-linux-gnu cortex-a72."""
        return f"{self.triple} {self.tuned_as}"

    def llvm(self) -> dict[str, Any]:
        """The target in TVM's form."""
        return {
            "kind": "llvm",
            "mtriple": self.triple,
            "mcpu": self.tuned_as,
            **({"mattr": list(self.attributes)} if self.attributes else {}),
            "num-cores": self.cores,
        }


def known_targets() -> list[str]:
    """Return the names of all devices."""
    return [HOST, *sorted(path.stem for path in DEVICES.glob("*.toml"))]


def read_target(name: str) -> Target:
    """Return the device `name`; raises `TargetError`, which lists the known ones."""
    if name == HOST:
        return _host()
    path = DEVICES / f"{name}.toml"
    if name not in known_targets():
        raise TargetError(
            "unknown device", where=name, remedy=f"known are {', '.join(known_targets())}"
        )
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        cpu, cache = entries["cpu"], entries["cache"]
        return Target(
            name=name,
            board=entries["board"],
            triple=cpu["triple"],
            cpu=cpu["name"],
            tuned_as=cpu.get("tuned_as", cpu["name"]),
            attributes=tuple(cpu.get("attributes", ())),
            features=tuple(cpu["features"]),
            cores=cpu["cores"],
            clock_mhz=cpu["clock_mhz"],
            l1d_kib=cache["l1d_kib"],
            l1d_ways=cache["l1d_ways"],
            l2_kib=cache["l2_kib"],
            l2_ways=cache["l2_ways"],
            memory_mib=entries["memory_mib"],
            vector=Vector(lanes=4, by_lane=True),
            tuned_like=entries.get("tuned_like", ""),
            emulated_as=cpu["emulated_as"],
            cost=tuple(entries["cost"][key] for key in COST),
            likeness=Likeness(**entries["estimate"]) if "estimate" in entries else None,
            budgets=checked(entries.get("budgets", {}), path),
            references=tuple(Reference(**item) for item in entries.get("references", ())),
        )
    except ConfigError as error:
        raise TargetError(error.what, where=path, remedy=error.remedy) from error
    except KeyError as error:
        raise TargetError(f"the entry {error} is missing", where=path) from error
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise TargetError(str(error), where=path, remedy="compare it with rpi4.toml") from error


def tuned_by(target: Target, precision: str, folder: Path = TUNING) -> Target:
    """Return the device whose tuning records `target` uses: itself, or `tuned_like`."""
    while target.tuned_like and not (folder / target.name / f"{precision}.json").exists():
        target = read_target(target.tuned_like)
    return target


def _host() -> Target:
    import tvm

    machine = platform.machine()
    flags = cpu_features()
    arm = machine == "aarch64"
    cpu = str(tvm.get_global_func("target.llvm_get_system_cpu")())
    wide = "avx512f" in flags
    vector = Vector(4, True) if arm else Vector(16 if wide else 8, False)
    needed = flags if arm else {f for f in flags if f.startswith("avx") or f in X86_FEATURES}
    return Target(
        name=HOST,
        board=f"this machine ({machine})",
        triple=f"{machine}-linux-gnu",
        cpu=cpu,
        tuned_as=cpu,
        attributes=() if arm else tuple(f"+{f}" for f in ("avx2", "fma") if f in flags),
        features=tuple(sorted(needed)),
        cores=1,
        clock_mhz=0,
        l1d_kib=32,
        l1d_ways=8,
        l2_kib=1024,
        l2_ways=8,
        memory_mib=0,
        vector=vector,
    )
