"""Count the instructions per code of the lookup's inner loop on emulated ARM CPUs.

    python -m profiles.bench.lookup_emulated [--out profiles/reports/lookup-emulated.json]

On each CPU and for each code length, a warm scan finds the ten nearest of the same number of
uniform codes. The counts are exact; they are not times.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from compile.emulation.qemu import count_program
from compile.target.description import read_target
from compile.target.toolchain import c_compiler, run
from profiles.bench.support.results import write_report

NATIVE = Path(__file__).resolve().parents[2] / "edge_runtime" / "native"
TARGETS = ("rpi3", "rpi4", "rpi5")
WIDTHS = (16, 32, 48, 64, 128, 256)
CODES = 1 << 16

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include "hamming.h"
static uint8_t codes[%(codes)d * 32 + 64];
int main(void) {
    static const uint32_t widths[] = {%(widths)s};
    static int64_t rows[10], distances[10];
    static uint32_t words[1 << 16], match_count;
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < sizeof codes; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        codes[i] = (uint8_t)state;
    }
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const uint8_t *query = codes + 77 * 32;
        for (int warm = 0; warm < 2; warm++) {
            if (warm) prctl(0x45444745, 1);
            edge_search(edge_find_scanner(NULL), codes, %(codes)d, widths[i], query, 1, 10, NULL,
                        words, rows, distances, &match_count);
            if (warm) prctl(0x45444745, 2);
        }
    }
    return 0;
}
"""


def count(name: str) -> dict[str, dict[str, float]]:
    """Return instructions and cache misses per code on the device `name`, by code length."""
    target = read_target(name)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        widths = ", ".join(map(str, WIDTHS))
        (work / "main.c").write_text(PROGRAM % {"codes": CODES, "widths": widths}, encoding="utf-8")
        sources = [str(NATIVE / f"{part}.c") for part in ("search", "scan_neon", "scan_scalar")]
        compiler = c_compiler(target.triple)
        # The flags of setup.py, for any aarch64.
        flags = ["-std=gnu11", "-O3", "-static", f"-I{NATIVE}"]
        run([*compiler, *flags, "main.c", *sources, "-o", "main"], work)
        regions = count_program(work / "main", target)
    return {
        str(bits): {
            "instructions": region.instructions / CODES,
            "l1_misses": region.l1_misses / CODES,
            "l2_misses": region.l2_misses / CODES,
        }
        for bits, region in zip(WIDTHS, regions, strict=True)
    }


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path))
def main(out: Path | None) -> None:
    """Count on every target and write the report."""
    counts = {}
    for name in TARGETS:
        counts[name] = {"cpu": read_target(name).cpu, "per_code": count(name)}
        click.echo(f"{name}: {counts[name]}", err=True)
    write_report({"schema_version": 1, "emulated": True, "codes": CODES, "counts": counts}, out)


if __name__ == "__main__":
    main()
