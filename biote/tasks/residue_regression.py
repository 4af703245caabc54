"""Numbers for residues: solvent accessibility, ranks of patches.

Legend: N labelled tokens, R residues, C values.
"""

from __future__ import annotations

from torch import Tensor

from biote.tasks.residues import ResidueTask


class ResidueRegressionTask(ResidueTask):
    """Predict one or more numbers for every residue.

    The head emits standardised values; mean and standard deviation of the training residues are
    buffers of the task, so predictions and metrics are in the units of the data.
    """

    kind = "values"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        errors = outputs - (targets - self.label_mean) / self.label_std
        return errors.square().mean(-1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs * self.label_std + self.label_mean
