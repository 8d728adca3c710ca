"""What the papers promise for a phone-class device, and the verdict on a measurement."""

from __future__ import annotations

from dataclasses import dataclass

QUERY_BUDGET_MS = 1000.0
"""A query takes less than a second (Liu et al. 2017, on a 1.8 GHz Kirin 925 phone)."""
MODEL_BUDGET_BYTES = 13_200_000
"""The network takes 13 MB (Qi et al. 2017): 3.27 million float32 parameters and their names."""


@dataclass(frozen=True)
class Check:
    """One measured figure against its budget."""

    name: str
    value: float
    budget: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the figure is within its budget."""
        return self.value <= self.budget


def check_budgets(query_p99_ms: float, model_bytes: int) -> list[Check]:
    """The papers' two lines."""
    return [
        Check("query, 99th percentile", query_p99_ms, QUERY_BUDGET_MS, "ms"),
        Check("model file", model_bytes / 1e6, MODEL_BUDGET_BYTES / 1e6, "MB"),
    ]
