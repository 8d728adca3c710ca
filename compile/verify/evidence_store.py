"""What was proved at length is kept beside the tuning records that it was proved of.

profiles/tuning/TARGET/PRECISION.proof.json holds, for each model, the evidence of the last compile
that was told how many pictures to prove it on (PICTURES=1000), and the SHA-256 of its library. A
compile that yields the same bytes, on whichever machine, has that evidence; one that yields others
is proved anew, on fewer pictures. Boards whose CPUs take the same code share what was proved of it,
but for its speed.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.cache import write_whole
from compile.target.description import Target
from edge_runtime.bundle import LIBRARY, MODEL
from edge_runtime.errors import CompileError

FORMAT = 1
PROOFS = ("parity", "speed", "accuracy")
"""The parts of a bundle's evidence; the last one only for less than fp32."""
Evidence = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What a proof is of: these bytes, and the CPU that they were run and counted on."""

    library: str
    model: str
    cpu: str

    @classmethod
    def of(cls, files: dict[str, Any], target: Target) -> Subject:
        """Of a bundle with the manifest's `files` for `target`."""
        caches = f"{target.l1d_kib}/{target.l1d_ways} {target.l2_kib}/{target.l2_ways} KiB/ways"
        weights = ", ".join(f"{weight:g}" for weight in target.cost)
        cpu = f"{target.emulated_as}, caches {caches}, weights {weights}"
        return cls(files[LIBRARY]["sha256"], files[MODEL]["sha256"], cpu)


class Proven:
    """The proofs of one target and precision."""

    def __init__(self, records: Path) -> None:
        """Those beside the file `records`; raises `CompileError` if they cannot be read."""
        self._records = records
        self.path = records.with_suffix(".proof.json")
        self.by_model: dict[str, Evidence] = {}
        if self.path.exists():
            try:
                content = json.loads(self.path.read_text(encoding="utf-8"))
                if content["format"] != FORMAT:
                    raise ValueError(f"format {content['format']} is not the supported {FORMAT}")
                for model, entry in content["proofs"].items():
                    Subject(entry["library"], model, entry["cpu"])
                    pictures_of(entry)
                    self.by_model[model] = entry
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise CompileError(
                    f"not a file of proofs: {error}",
                    where=self.path,
                    remedy="delete it; the next compile is proved anew",
                ) from error

    def of(self, subject: Subject) -> Evidence | None:
        """The evidence of exactly these bytes on exactly this CPU."""
        entry = self.by_model.get(subject.model)
        if entry and (entry["library"], entry["cpu"]) == (subject.library, subject.cpu):
            return {part: entry[part] for part in PROOFS}
        return None

    def of_same_bytes(self, subject: Subject) -> Evidence | None:
        """What was proved at most length of these bytes on any CPU, without their speed there."""
        folder, name = self._records.parent.parent, self._records.name
        every = []
        for path in sorted(folder.glob(f"*/{self.path.name}")):
            with contextlib.suppress(CompileError):  # it is that target's to complain
                every.append(Proven(path.with_name(name)).by_model.get(subject.model))
        same = [entry for entry in every if entry and entry["library"] == subject.library]
        best = max(same, key=pictures_of, default=None)
        return {part: best[part] for part in PROOFS if part != "speed"} if best else None

    def of_other_bytes(self, subject: Subject) -> int:
        """On how many pictures this model was proved, as another library; 0: it was not."""
        entry = self.by_model.get(subject.model)
        return pictures_of(entry) if entry and not self.of(subject) else 0

    def keep(self, subject: Subject, evidence: Evidence) -> None:
        """Keep the `evidence`, in place of what there was of the model; raises `StorageError`."""
        entry = {"library": subject.library, "cpu": subject.cpu}
        self.by_model[subject.model] = entry | {part: evidence[part] for part in PROOFS}
        text = json.dumps({"format": FORMAT, "proofs": self.by_model}, indent=1) + "\n"
        write_whole(self.path, text)


def pictures_of(evidence: Evidence) -> int:
    """On how many pictures it was proved."""
    return int(evidence["parity"]["pictures"])
