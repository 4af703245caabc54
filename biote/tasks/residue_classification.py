"""Classification of residues.

Legend: N labelled tokens, R residues, K classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from biote.tasks.residues import ResidueTask


class ResidueClassificationTask(ResidueTask):
    """Predict one of several classes for every residue, for example secondary structure."""

    kind = "classes"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets[:, 0].long(), reduction="none")

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(-1)
