"""Metrics of contact maps: precision of the best-scored pairs, at 0.5, and average precision.

Legend: P scored pairs of one protein, L residues of its sequence.

The precision of the k best pairs is the mean over proteins, with k = L, L / 2 and L / 5 (rounded
down, at least 1); a protein with fewer pairs in the range counts all of them, one with none does
not count. Where pairs have equal scores, as they do with tokens of several residues, it is what
is expected if they are put in any order with equal chance. Average precision is the mean over
proteins that have a contact. Precision at 0.5 is over the pairs of all proteins together.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision

THRESHOLD: Final = 0.5
RANGES: Final[dict[str, tuple[int, float]]] = {
    "medium_long": (12, math.inf),
    "medium": (12, 23),
    "long": (24, math.inf),
}
"""Least and most residues from one of a pair to the other along the sequence."""

_DIVISORS: Final = {"p_at_l": 1, "p_at_l2": 2, "p_at_l5": 5}
RANKED: Final = tuple(f"{metric}_{name}" for name in RANGES for metric in _DIVISORS)
CONTACT_METRICS: Final = (*RANKED, "auprc", "precision")


class ContactMetric(Metric):
    """All metrics of contact maps; proteins are added one by one and may differ in length."""

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("sums", "counts"):
            zeros = torch.zeros(len(CONTACT_METRICS), dtype=torch.float64)
            self.add_state(name, zeros, dist_reduce_fx="sum")

    def update(self, scores: Tensor, contacts: Tensor, separation: Tensor, length: int) -> None:
        """Add a protein.

        Args:
            scores: Probability that the residues of a pair are in contact, (P,).
            contacts: Whether they are, (P,).
            separation: Residues from one to the other along the sequence, (P,).
            length: Residues of the sequence, L.
        """
        scores, contacts = scores.double(), contacts.double()
        for place, (name, divisor) in enumerate(
            (name, divisor) for name in RANGES for divisor in _DIVISORS.values()
        ):
            low, high = RANGES[name]
            inside = (separation >= low) & (separation <= high)
            ranked = scores[inside]
            k = min(max(1, length // divisor), len(ranked))
            if k:
                self.sums[place] += expected_hits(ranked, contacts[inside], k) / k
                self.counts[place] += 1
        if contacts.any():
            place = CONTACT_METRICS.index("auprc")
            self.sums[place] += binary_average_precision(scores, contacts.long())
            self.counts[place] += 1
        predicted = scores > THRESHOLD
        place = CONTACT_METRICS.index("precision")
        self.sums[place] += contacts[predicted].sum()
        self.counts[place] += predicted.sum()

    def compute(self) -> dict[str, Tensor]:
        """Every metric over the proteins of all ranks; NaN where nothing could be counted."""
        return dict(zip(CONTACT_METRICS, (self.sums / self.counts).unbind(), strict=True))


def expected_hits(scores: Tensor, contacts: Tensor, k: int) -> Tensor:
    """Contacts among the k best-scored pairs, expected over the orders of equal scores.

    Args:
        scores: Scores, (P,).
        contacts: 1 where a pair is in contact, 0 where not, (P,).
        k: Number of pairs, 1 to P.

    Returns:
        A scalar.
    """
    last = scores.topk(k).values[-1]
    above = scores > last
    tied = scores == last
    return contacts[above].sum() + (k - above.sum()) * contacts[tied].mean()
