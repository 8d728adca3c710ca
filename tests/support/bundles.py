"""A valid bundle whose library is a few lines of C that hash nothing."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.bundle import MODEL, write_manifest
from edge_runtime.engine.compiled import API_VERSION
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE, PRIOR_FILE, find_prior, identify
from edge_runtime.system.cpu import cpu_features
from tests.support.processes import ROOT

FAKE = """
#include <stdint.h>
#include <string.h>
struct info {
    int32_t api, size, bits, words; const char *id, *target, *precision; uint64_t arena;
#if API > 1
    int32_t features;
#endif
};
static const struct info info = {API, 224, 64, 1, "ID", "host", "fp32", 0
#if API > 1
    , FEATURES
#endif
};
static int opened;
const struct info *edge_version(void) { return &info; }
void *edge_open(int32_t threads) { return threads == 7 ? 0 : (opened++, &opened); }
int32_t edge_hash(void *n, const uint8_t *bgr, uint64_t *code)
{ *code = bgr[0] == 255 ? 0 : ((uint64_t)bgr[0] << 8 | bgr[1]); return bgr[0] == 255; }
#if API > 1
int32_t edge_features(void *n, const uint8_t *bgr, uint64_t *code, float *f)
{ memset(f, 0, 4 * FEATURES); f[1] = bgr[1]; return edge_hash(n, bgr, code); }
#endif
int32_t edge_logits(void *n, const uint8_t *bgr, float *l) { memset(l, 0, 256); return 0; }
int32_t edge_profile(void *n, uint64_t *ns, int32_t count) { if (ns) *ns = 1500000; return 1; }
const char *edge_kernel(int32_t i) { return i ? 0 : "k0: all of it"; }
void edge_close(void *n) { opened--; }
const char *edge_error(void) { return "simulated failure"; }
"""


def make_bundle(
    folder: Path,
    *,
    api: int = API_VERSION,
    model_id: str = "",
    features: int = 1024,
    model: Path = ROOT / "models" / MODEL_FILE,
) -> Path:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler is installed")
    shutil.copy(model, folder / MODEL)
    if prior := find_prior(model):
        shutil.copy(prior, folder / PRIOR_FILE)
    text = FAKE.replace('"ID"', f'"{model_id or identify(model)[0]}"')
    (folder / "fake.c").write_text(text)
    defines = [f"-DAPI={api}", f"-DFEATURES={features}"]
    subprocess.run(
        [compiler, *defines, "-shared", "-fPIC", folder / "fake.c", "-o", folder / "libedge.so"],
        check=True,
    )
    (folder / "fake.c").unlink()
    info = PortableEngine(model).model
    write_manifest(
        folder,
        info if api > 1 else replace(info, features=0),  # older compilers knew no features
        target={
            "name": "host",
            "triple": f"{platform.machine()}-linux-gnu",
            "cpu": "this one",
            "features": sorted(cpu_features())[:3],
        },
        precision="fp32",
        budgets={"query_p99_ms": 100.0},
        tools={"cc": "any"},
    )
    return folder


def edit(bundle: Path, change: Mapping[str, object]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for key, value in change.items():
        place = manifest
        *parents, last = key.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def picture(first: int = 3, second: int = 5) -> Image:
    image = np.zeros((224, 224, 3), np.uint8)
    image[0, 0, :2] = first, second
    return image


def portable_bundle(folder: Path, model: Path, **change: object) -> Path:
    """A bundle for this CPU whose network was not compiled; `change` is what it needs of a CPU."""
    folder.mkdir()
    make_bundle(folder, model=model)
    (folder / "libedge.so").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["precision"] = "portable"
    del manifest["files"]["libedge.so"]
    manifest["target"] |= change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
