"""Metrics of predictions for residues, one class for each kind of label.

Legend: R residues, K classes, C labels of a residue.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.functional import pearson_corrcoef
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_auroc,
    binary_average_precision,
    binary_confusion_matrix,
    binary_f1_score,
)
from torchmetrics.utilities import dim_zero_cat

from biote.residue_batch import ResidueKind
from biote.tasks.class_metrics import MatthewsCorrCoef, matthews_corrcoef
from biote.tasks.correlation import rank_correlation, varies

THRESHOLD: Final = 0.5
"""Above this probability, the answer is yes."""


class ResidueScores(nn.Module, ABC):
    """Scores over the labelled residues of a split, joined over all ranks.

    Args:
        n_outputs: Number of classes, K, or of labels of a residue, C.
    """

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs

    @abstractmethod
    def compute(self, names: Sequence[str]) -> dict[str, float]:
        """The scores by name, NaN where one is not defined.

        Args:
            names: Names of the outputs; where there are several, scores of one end in its name.
        """

    def reset(self) -> None:
        """Forget all residues."""
        for module in self.modules():
            if isinstance(module, Metric):
                module.reset()


class ResidueMetrics(ResidueScores):
    """Metrics of predictions over the labelled residues of a split."""

    monitored: ClassVar[tuple[str, ...]]
    """Metrics that are there whatever the outputs are called."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.residues = SumMetric()

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Add labelled residues; there may be none.

        Args:
            predictions: Probabilities of classes (R, K) or of a positive label (R, C), or values
                in their units (R, C).
            labels: Labels, (R, C); of classes, their indices, (R, 1).
        """
        self.residues.update(len(labels))
        self._update(predictions.detach(), labels.detach())

    @abstractmethod
    def _update(self, predictions: Tensor, labels: Tensor) -> None: ...

    @property
    def n_residues(self) -> int:
        """Number of labelled residues, over all ranks."""
        return int(self.residues.compute())

    def over_outputs(self, values: dict[str, float], names: Sequence[str]) -> dict[str, float]:
        """The monitored metrics: the mean over outputs where there are several.

        Args:
            values: What `compute` gave.
            names: Names of the outputs.
        """
        means = {}
        for metric in self.monitored:
            found = [values[key] for key in names_of(metric, names) if key in values]
            known = [value for value in found if not math.isnan(value)]
            means[metric] = sum(known) / len(known) if known else math.nan
        return means


def names_of(metric: str, names: Sequence[str]) -> list[str]:
    """What a metric of each output is called.

    Args:
        metric: Name of the metric.
        names: Names of the outputs.
    """
    return [metric] if len(names) == 1 else [f"{metric}_{name}" for name in names]


class ClassMetrics(ResidueMetrics):
    """Accuracy, F1 (macro, weighted and of each class) and Matthews correlation."""

    monitored = ("accuracy", "f1_macro", "f1_weighted", "mcc")

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(n_outputs, average="micro"),
                "f1_macro": MulticlassF1Score(n_outputs, average="macro"),
                "f1_weighted": MulticlassF1Score(n_outputs, average="weighted"),
                "mcc": MatthewsCorrCoef(n_outputs),
                "f1": MulticlassF1Score(n_outputs, average="none"),
            },
            compute_groups=False,
        )

    def _update(self, predictions: Tensor, labels: Tensor) -> None:
        if len(labels):
            self.metrics.update(predictions, labels[:, 0].long())

    def compute(self, names: Sequence[str]) -> dict[str, float]:
        values: dict[str, Any] = self.metrics.compute()
        of_class = values.pop("f1").tolist()
        return {name: float(value) for name, value in values.items()} | {
            f"f1_{name}": value for name, value in zip(names, of_class, strict=True)
        }

    def over_outputs(self, values: dict[str, float], names: Sequence[str]) -> dict[str, float]:
        return {metric: values[metric] for metric in self.monitored}


class AllResidues(Metric):
    """All predictions and labels: ranks have no sums to add up."""

    full_state_update = False
    predictions: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Add residues; there may be none."""
        self.predictions.append(predictions.double())
        self.labels.append(labels.double())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Predictions and labels of all ranks, (R, C) each."""
        return dim_zero_cat(self.predictions), dim_zero_cat(self.labels)


class BinaryMetrics(ResidueMetrics):
    """Of every label: F1 at 0.5 beside the F1 of chance, areas under two curves, and more.

    Where a share p of residues is positive, calling all of them positive has an F1 of
    2 p / (1 + p): no guess that looks at nothing has a higher one.
    """

    monitored = ("f1", "auroc", "auprc", "mcc", "accuracy")

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.pairs = AllResidues()

    def _update(self, predictions: Tensor, labels: Tensor) -> None:
        self.pairs.update(predictions, labels)

    def compute(self, names: Sequence[str]) -> dict[str, float]:
        predictions, labels = self.pairs.compute()
        found: dict[str, float] = {}
        for output, name in enumerate(names):
            end = "" if len(names) == 1 else f"_{name}"
            values = _binary_metrics(predictions[:, output], labels[:, output].long())
            found |= {f"{key}{end}": value for key, value in values.items()}
        return found


def _binary_metrics(predictions: Tensor, labels: Tensor) -> dict[str, float]:
    names = ("f1", "auroc", "auprc", "mcc", "accuracy", "chance_f1", "positive_share")
    values = dict.fromkeys(names, math.nan)
    if not len(labels):
        return values
    chosen = (predictions > THRESHOLD).long()
    share = float(labels.double().mean())
    values |= {
        "f1": float(binary_f1_score(chosen, labels)),
        "mcc": float(matthews_corrcoef(binary_confusion_matrix(chosen, labels))),
        "accuracy": float(binary_accuracy(chosen, labels)),
        "chance_f1": 2 * share / (1 + share),
        "positive_share": share,
    }
    if 0 < share < 1:  # the area needs both kinds of residues
        values["auroc"] = float(binary_auroc(predictions, labels))
    if share > 0:
        values["auprc"] = float(binary_average_precision(predictions, labels))
    return values


class ValueMetrics(ResidueMetrics):
    """Of every value: Pearson and Spearman correlation, mean absolute error."""

    monitored = ("pcc", "spearman", "mae")

    def __init__(self, n_outputs: int) -> None:
        super().__init__(n_outputs)
        self.pairs = AllResidues()

    def _update(self, predictions: Tensor, labels: Tensor) -> None:
        self.pairs.update(predictions, labels)

    def compute(self, names: Sequence[str]) -> dict[str, float]:
        predictions, labels = self.pairs.compute()
        found: dict[str, float] = {}
        for output, name in enumerate(names):
            end = "" if len(names) == 1 else f"_{name}"
            values = _value_metrics(predictions[:, output], labels[:, output])
            found |= {f"{key}{end}": value for key, value in values.items()}
        return found


def _value_metrics(predictions: Tensor, labels: Tensor) -> dict[str, float]:
    values = dict.fromkeys(("pcc", "spearman", "mae"), math.nan)
    if len(labels):
        values["mae"] = float((predictions - labels).abs().mean())
    if len(labels) > 1 and varies(predictions) and varies(labels):
        values["pcc"] = float(pearson_corrcoef(predictions, labels))
        values["spearman"] = rank_correlation(predictions, labels)
    return values


METRICS: Final[dict[ResidueKind, type[ResidueMetrics]]] = {
    "classes": ClassMetrics,
    "binary": BinaryMetrics,
    "values": ValueMetrics,
}
