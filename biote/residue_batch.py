"""Groups of tokens with labels of the residues that their tokens stand for.

Legend: B groups, T packed tokens, N labelled tokens, R residues that have a token, C labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from biote.batch import LabelledBatch

ResidueKind = Literal["classes", "binary", "values"]
"""What the labels of residues are: one class, yes or no for each of C questions, or C numbers."""


@dataclass(frozen=True, kw_only=True)
class ResidueBatch(LabelledBatch):
    """Rows whose residues are labelled; ``targets`` are those of the labelled tokens, (N, C).

    Classes are class indices, as numbers.
    """

    labelled_tokens: Tensor
    """Tokens with a target, ascending, (N,), int64."""

    residue_tokens: Tensor
    """Token of every residue, (R,), int64; residues of trimmed ends have none and are not here."""

    residue_labels: Tensor
    """Labels of every residue, NaN where it is not labelled, (R, C)."""

    residue_rows: Tensor
    """Which of ``row_ids`` each residue belongs to, (R,), int64."""

    residue_positions: Tensor
    """Position of every residue in its sequence, from 0, (R,), int64."""

    step_labelled: int
    """Labelled tokens of the whole global step: all ranks, all accumulated micro-batches."""

    @property
    def labelled_residues(self) -> Tensor:
        """Whether each residue is labelled, (R,)."""
        return ~self.residue_labels.isnan().any(-1)

    def of_residues(self, predictions: Tensor) -> Tensor:
        """Give every residue the prediction of its token.

        Args:
            predictions: Predictions of every token, (T, ...).

        Returns:
            (R, ...).
        """
        return predictions.index_select(0, self.residue_tokens)
