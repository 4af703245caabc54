"""Classification metrics whose torchmetrics forms score degenerate cases otherwise.

Legend: B rows, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassMatthewsCorrCoef
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat


class MatthewsCorrCoef(MulticlassMatthewsCorrCoef):
    """Matthews correlation coefficient, 0 where all rows are of, or are given, one class.

    (torchmetrics gives small numbers beside 0, or 1, for two classes.)
    """

    def compute(self) -> Tensor:
        """The coefficient of all rows."""
        return matthews_corrcoef(self.confmat)


def matthews_corrcoef(confusion: Tensor) -> Tensor:
    """Matthews correlation coefficient; see `MatthewsCorrCoef`.

    Args:
        confusion: Numbers of rows by true and predicted class, (C, C).
    """
    counts = confusion.double()
    actual, predicted, rows = counts.sum(1), counts.sum(0), counts.sum()
    covariance = counts.trace() * rows - actual @ predicted
    spread = (rows**2 - predicted @ predicted) * (rows**2 - actual @ actual)
    return torch.where(spread > 0, covariance / spread.clamp(min=1).sqrt(), 0.0).float()


class PresentClassesAUROC(Metric):
    """Area under the ROC curve of every class against the rest, averaged over classes.

    Only classes with and without examples among the rows have a curve; the others are left out
    of the average. (torchmetrics counts them as 0.)
    """

    full_state_update = False
    probabilities: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("probabilities", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, targets: Tensor) -> None:
        """Take rows.

        Args:
            probabilities: Probabilities of the classes, (B, C); B may be 0, so that every process
                holds something to gather.
            targets: Class indices, (B,).
        """
        self.probabilities.append(probabilities.detach())
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """The average; NaN where no class has a curve."""
        return present_classes_auroc(dim_zero_cat(self.probabilities), dim_zero_cat(self.targets))


def present_classes_auroc(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Mean one-against-rest AUROC of the classes that occur; see `PresentClassesAUROC`.

    Args:
        probabilities: Probabilities of the classes, (B, C).
        targets: Class indices, (B,).
    """
    areas = [
        binary_auroc(probabilities[:, index], (targets == index).int())
        for index in targets.unique().tolist()
        if not bool((targets == index).all())
    ]
    return torch.stack(areas).mean() if areas else probabilities.new_tensor(float("nan"))
