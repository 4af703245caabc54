"""Metrics that torchmetrics does not have: masked tokens with their standard errors.

Legend: M masked tokens, G windows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric


@dataclass(frozen=True)
class MaskedTokenSummary:
    """Mean over masked tokens with the standard error of the mean."""

    tokens: int
    windows: int
    cross_entropy: float
    cross_entropy_error: float
    accuracy: float
    accuracy_error: float

    @property
    def perplexity(self) -> float:
        """Exponential of the cross-entropy."""
        return float(torch.tensor(self.cross_entropy).exp())


class MaskedTokenMetric(Metric):
    """Cross-entropy and accuracy at masked tokens.

    Tokens of one window are not independent, so the standard error is that of a ratio of sums
    over windows, not of a mean over tokens.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        # n, ce, hit, windows, then the squares and products that the errors need:
        # n n, ce ce, hit hit, n ce, n hit.
        self.add_state("sums", torch.zeros(9, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, losses: Tensor, hits: Tensor, windows: Tensor) -> None:
        """Add masked tokens; a window must not be divided between two updates.

        Args:
            losses: Cross-entropy of every masked token, (M,).
            hits: Whether the most probable token was right, (M,).
            windows: Window of every masked token, (M,), any integers.
        """
        if losses.numel() == 0:
            return  # nothing of this modality in the batch
        _, inverse = torch.unique(windows, return_inverse=True)
        size = int(inverse.max()) + 1
        per_window = torch.zeros(3, size, dtype=torch.float64, device=losses.device)
        per_window[0].index_add_(0, inverse, torch.ones_like(losses, dtype=torch.float64))
        per_window[1].index_add_(0, inverse, losses.double())
        per_window[2].index_add_(0, inverse, hits.double())
        n, ce, hit = per_window
        self.sums += torch.stack(
            [
                n.sum(), ce.sum(), hit.sum(), torch.ones_like(n).sum(), (n * n).sum(),
                (ce * ce).sum(), (hit * hit).sum(), (n * ce).sum(), (n * hit).sum(),
            ]
        )  # fmt: skip

    def compute(self) -> Tensor:
        """The sums over all ranks; `summarise` turns them into a summary."""
        return self.sums


def summarise(sums: Tensor) -> MaskedTokenSummary | None:
    """Means and standard errors from the sums of a `MaskedTokenMetric`.

    Args:
        sums: Its computed value.

    Returns:
        The summary, or nothing if no token was seen.
    """
    n, ce, hit, windows, nn, ce2, hit2, nce, nhit = sums.tolist()
    if n == 0:
        return None

    def error(total: float, squares: float, products: float) -> float:
        ratio = total / n
        residual = max(squares - 2 * ratio * products + ratio * ratio * nn, 0.0)
        return float(residual**0.5 / n * (windows / max(windows - 1, 1)) ** 0.5)

    return MaskedTokenSummary(
        tokens=int(n),
        windows=int(windows),
        cross_entropy=ce / n,
        cross_entropy_error=error(ce, ce2, nce),
        accuracy=hit / n,
        accuracy_error=error(hit, hit2, nhit),
    )
