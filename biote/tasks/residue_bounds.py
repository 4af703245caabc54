"""The best scores that predictions for tokens can have on the labels of residues.

Legend: R residues, C labels of a residue, K classes.

Residues of one token are given one prediction. A bound is reached, or can at least not be passed,
by predictions that are constant within every token, however good the encoder is.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor
from torchmetrics import SumMetric

from biote.residue_batch import ResidueKind
from biote.tasks.correlation import varies
from biote.tasks.residue_metrics import AllResidues, ResidueScores, names_of

UPPER_BOUND: Final = "upper_bound_"
"""Before the name of a metric: no predictions that are constant within tokens have a higher one."""

BEST: Final = "best_"
"""Before the name of a metric of which less is better: none have a lower one."""


class ResidueBounds(ResidueScores):
    """Bounds of scores over the labelled residues of a split."""

    def update(self, labels: Tensor, tokens: Tensor) -> None:
        """Add labelled residues; there may be none.

        Args:
            labels: Labels, (R, C); of classes, their indices, (R, 1).
            tokens: Token of every residue, (R,); calls share no token.
        """
        _, places = tokens.unique(return_inverse=True)
        self._update(labels.detach().double(), places)

    @abstractmethod
    def _update(self, labels: Tensor, places: Tensor) -> None: ...


class ClassBounds(ResidueBounds):
    """Accuracy: that of the most frequent class of every token's residues.

    F1 and Matthews correlation are of the whole confusion matrix; the predictions that make them
    greatest have no such form, and no bound of them is given.
    """

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.hits = SumMetric()
        self.residues = SumMetric()

    def _update(self, labels: Tensor, places: Tensor) -> None:
        self.hits.update(_most_frequent(labels[:, 0].long(), places, n_classes=self.n_outputs))
        self.residues.update(len(labels))

    def compute(self, names: Sequence[str]) -> dict[str, float]:
        residues = float(self.residues.compute())
        accuracy = float(self.hits.compute()) / residues if residues else math.nan
        return {f"{UPPER_BOUND}accuracy": accuracy}


class BinaryBounds(ResidueBounds):
    """Of every label: all metrics, from the share of positives among the residues of a token.

    Ranking residues by that share makes the area under the ROC curve greatest; F1 and Matthews
    correlation are greatest at one of its thresholds, accuracy at 0.5. No average precision is
    above the area under the precision that the ranking reaches at every recall, tokens of equal
    shares taken piece by piece.
    """

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.pairs = AllResidues()

    def _update(self, labels: Tensor, places: Tensor) -> None:
        self.pairs.update(_means(labels, places), labels)

    def compute(self, names: Sequence[str]) -> dict[str, float]:
        shares, labels = self.pairs.compute()
        found: dict[str, float] = {}
        for output in range(len(names)):
            values = _binary_bounds(shares[:, output], labels[:, output])
            for metric, value in values.items():
                found[f"{UPPER_BOUND}{names_of(metric, names)[output]}"] = value
        return found


def _binary_bounds(shares: Tensor, labels: Tensor) -> dict[str, float]:
    """Bounds of one label, from the shares and labels of residues, (R,) each."""
    values = dict.fromkeys(("f1", "auroc", "auprc", "mcc", "accuracy"), math.nan)
    if not len(labels):
        return values
    levels, places = shares.unique(return_inverse=True)  # ascending
    sizes = torch.bincount(places, minlength=len(levels)).double().flip(0)
    yes = torch.zeros_like(levels).index_add(0, places, labels).flip(0)
    # Counts of what is called positive, from nothing to everything.
    called = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    hits = torch.cat([yes.new_zeros(1), yes.cumsum(0)])
    total, positive = float(called[-1]), float(hits[-1])
    negative = total - positive
    values["accuracy"] = float((negative - called + 2 * hits).max()) / total
    values["f1"] = float((2 * hits / (called + positive).clamp(min=1)).max())
    spread = (positive * negative * called * (total - called)).sqrt()
    covariance = hits * total - called * positive
    values["mcc"] = float(torch.where(spread > 0, covariance / spread.clamp(min=1), 0.0).max())
    if positive and negative:
        false = called - hits
        area = ((hits[1:] + hits[:-1]) / 2 * false.diff()).sum()
        values["auroc"] = float(area) / (positive * negative)
    if positive:
        steps = pairwise(zip(called.tolist(), hits.tolist(), strict=True))
        values["auprc"] = math.fsum(_precision_area(*before, *after) for before, after in steps)
        values["auprc"] = min(1.0, values["auprc"] / positive)
    return values


def _precision_area(called: float, hits: float, called_then: float, hits_then: float) -> float:
    """Integral of the precision over the hits while residues of one share are taken in turn."""
    gained = hits_then - hits
    if not gained:
        return 0.0
    share = gained / (called_then - called)
    scaled = share * called
    if not scaled:
        return share * gained
    return share * (gained + (hits - scaled) * math.log1p(gained / scaled))


class ValueBounds(ResidueBounds):
    """Of every value: Pearson correlation with the means of tokens, and least absolute error.

    The absolute error is least at the medians. The ranks that make Spearman correlation greatest
    have no such form, and no bound of it is given.
    """

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.pairs = AllResidues()
        self.medians = AllResidues()

    def _update(self, labels: Tensor, places: Tensor) -> None:
        self.pairs.update(_means(labels, places), labels)
        self.medians.update(_medians(labels, places), labels)

    def compute(self, names: Sequence[str]) -> dict[str, float]:
        means, labels = self.pairs.compute()
        medians, same = self.medians.compute()
        found: dict[str, float] = {}
        for output in range(len(names)):
            pcc, mae = (names_of(metric, names)[output] for metric in ("pcc", "mae"))
            found[f"{UPPER_BOUND}{pcc}"] = _explained(means[:, output], labels[:, output])
            errors = (medians[:, output] - same[:, output]).abs()
            found[f"{BEST}{mae}"] = float(errors.mean()) if len(errors) else math.nan
        return found


def _explained(means: Tensor, labels: Tensor) -> float:
    """Correlation of labels with the means of tokens, 0 where those are all the same."""
    if len(labels) < 2 or not varies(labels):
        return math.nan
    return math.sqrt(float(means.var() / labels.var()))


def _most_frequent(classes: Tensor, places: Tensor, *, n_classes: int) -> int:
    """Residues that are of the most frequent class of their token."""
    votes = torch.bincount(places * n_classes + classes)
    votes = torch.nn.functional.pad(votes, (0, -len(votes) % n_classes))
    return int(votes.view(-1, n_classes).amax(1).sum()) if len(votes) else 0


def _means(labels: Tensor, places: Tensor) -> Tensor:
    """Mean label of every residue's token, (R, C)."""
    sizes = torch.bincount(places)
    sums = labels.new_zeros(len(sizes), labels.shape[1]).index_add(0, places, labels)
    return (sums / sizes[:, None])[places]


def _medians(labels: Tensor, places: Tensor) -> Tensor:
    """Median label of every residue's token, of an even number the lower one, (R, C)."""
    sizes = torch.bincount(places)
    middle = sizes.cumsum(0) - sizes + (sizes - 1).div(2, rounding_mode="floor")
    columns = []
    for column in labels.unbind(1):
        order = column.argsort(stable=True)
        order = order[places[order].argsort(stable=True)]  # by token, then by label
        columns.append(column[order[middle]][places])
    return torch.stack(columns, 1)


BOUNDS: Final[dict[ResidueKind, type[ResidueBounds]]] = {
    "classes": ClassBounds,
    "binary": BinaryBounds,
    "values": ValueBounds,
}
