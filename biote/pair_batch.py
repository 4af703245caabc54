"""Proteins with coordinates, for what is predicted of pairs of residues.

Legend: B groups, T packed tokens, R residues of all proteins, end to end.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biote.batch import LabelledBatch


@dataclass(frozen=True, kw_only=True)
class PairBatch(LabelledBatch):
    """Proteins, one to a group: its tag, its tokens, its end token. ``targets`` is empty."""

    coordinates: Tensor
    """C-alpha coordinates in angstrom, (R, 3), NaN where a residue is not resolved."""

    token_of_residue: Tensor
    """Token of every residue, counted from 0 behind the tag of its group; -1 where the protein is
    trimmed, (R,), int64."""

    residues: tuple[int, ...]
    """Residues of every protein, B numbers."""
