"""Yes or no for residues: contacts, interfaces, epitopes.

Legend: N labelled tokens, R residues, C questions.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from biote.tasks.residues import ResidueTask


class ResidueBinaryTask(ResidueTask):
    """Answer one or more yes-or-no questions for every residue.

    An example is whether it is within 8, 6 and 4 angstrom of a nucleotide. A question is answered
    with yes above a probability of 0.5.
    """

    kind = "binary"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        every = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return every.mean(-1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()
