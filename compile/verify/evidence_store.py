"""Stored evidence: the result of a long verification, beside the tuning records it belongs to.

profiles/tuning/TARGET/PRECISION.proof.json holds, for each model, the evidence of the last compile
with an explicit number of pictures (PICTURES=1000), and the SHA-256 of its library. A compile that
yields the same bytes, on any machine, uses that evidence. One that yields other bytes is verified
again, on fewer pictures. Boards whose CPUs run the same code share all evidence except the speed.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.cache import write_text
from compile.target.description import Target
from edge_runtime.bundle import LIBRARY, MODEL
from edge_runtime.errors import CompileError

FORMAT = 1
EVIDENCE_PARTS = ("parity", "speed", "accuracy")
"""The parts of a bundle's evidence. The accuracy is None for fp32."""
Evidence = dict[str, Any]


@dataclass(frozen=True)
class ProofKey:
    """The subject of evidence: the SHA-256 of library and model, and the CPU that ran them."""

    library: str
    model: str
    cpu: str

    @classmethod
    def of(cls, files: dict[str, Any], target: Target) -> ProofKey:
        """Return the key of a bundle for `target` with the manifest's `files`."""
        caches = f"{target.l1d_kib}/{target.l1d_ways} {target.l2_kib}/{target.l2_ways} KiB/ways"
        weights = ", ".join(f"{weight:g}" for weight in target.cost)
        cpu = f"{target.emulated_as}, caches {caches}, weights {weights}"
        return cls(files[LIBRARY]["sha256"], files[MODEL]["sha256"], cpu)


class EvidenceStore:
    """The stored evidence of one target and precision."""

    def __init__(self, records: Path) -> None:
        """Read the file beside the tuning records `records`; raises `CompileError`."""
        self._records = records
        self.path = records.with_suffix(".proof.json")
        self.by_model: dict[str, Evidence] = {}
        if self.path.exists():
            try:
                content = json.loads(self.path.read_text(encoding="utf-8"))
                if content["format"] != FORMAT:
                    raise ValueError(f"format {content['format']} is not the supported {FORMAT}")
                for model, entry in content["proofs"].items():
                    ProofKey(entry["library"], model, entry["cpu"])
                    proved_pictures(entry)
                    self.by_model[model] = entry
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise CompileError(
                    f"not a file of stored evidence: {error}",
                    where=self.path,
                    remedy="delete it; the next compile is verified again",
                ) from error

    def exact(self, key: ProofKey) -> Evidence | None:
        """Return the evidence for exactly these bytes on exactly this CPU, or None."""
        entry = self.by_model.get(key.model)
        if entry and (entry["library"], entry["cpu"]) == (key.library, key.cpu):
            return {part: entry[part] for part in EVIDENCE_PARTS}
        return None

    def same_library(self, key: ProofKey) -> Evidence | None:
        """Return evidence for the same bytes on any CPU, without the speed, or None.

        Of several it returns the one on the most pictures.
        """
        folder, name = self._records.parent.parent, self._records.name
        every = []
        for path in sorted(folder.glob(f"*/{self.path.name}")):
            with contextlib.suppress(CompileError):  # reported by a compile for that target
                every.append(EvidenceStore(path.with_name(name)).by_model.get(key.model))
        same = [entry for entry in every if entry and entry["library"] == key.library]
        best = max(same, key=proved_pictures, default=None)
        return {part: best[part] for part in EVIDENCE_PARTS if part != "speed"} if best else None

    def pictures_for_other_library(self, key: ProofKey) -> int:
        """Return the pictures on which another library of this model was verified (0: none)."""
        entry = self.by_model.get(key.model)
        return proved_pictures(entry) if entry and not self.exact(key) else 0

    def save(self, key: ProofKey, evidence: Evidence) -> None:
        """Store `evidence`, replacing that of the same model; raises `StorageError`."""
        entry = {"library": key.library, "cpu": key.cpu}
        self.by_model[key.model] = entry | {part: evidence[part] for part in EVIDENCE_PARTS}
        text = json.dumps({"format": FORMAT, "proofs": self.by_model}, indent=1) + "\n"
        write_text(self.path, text)


def proved_pictures(evidence: Evidence) -> int:
    """Return the number of pictures that `evidence` is based on."""
    return int(evidence["parity"]["pictures"])
