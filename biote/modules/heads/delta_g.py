"""The binding-energy head.

Legend: T packed tokens, B groups, D width.
"""

from __future__ import annotations

from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.heads.base import Head
from biote.modules.readout import HEAD_BASE_WIDTH, Readout


class DeltaGHead(Head):
    """Linear on the first token of the group, starting at zero.

    Args:
        width: Width of the states, D.
        n_outputs: Number of targets; a binding energy is one.

    Raises:
        ConfigError: If more or less than one target is asked for.

    Source: paper, Methods (Delta G).
    """

    level = "group"

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__(width, n_outputs)
        if n_outputs != 1:
            raise ConfigError(
                f"DeltaGHead predicts one number, the data has {n_outputs} targets",
                where="model.head",
                mend="use SequenceHead or MLPHead, or choose one target column",
            )
        self.readout = Readout(width, n_outputs, base_width=HEAD_BASE_WIDTH, bias=True)

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """Predict binding free energy.

        Args:
            states: Encoder states, (T, D).
            batch: Packed batch of B groups the states belong to.

        Returns:
            Standardised energy, (B, 1); the task turns it into kcal/mol.
        """
        predictions: Tensor = self.readout(states.index_select(0, batch.first_tokens))
        return predictions
