"""Pairs of residues and pairs of tokens: which are labelled, in contact, and how they are scored.

Legend: R residues of all proteins of a batch, L residues of one protein, n tokens of it, P pairs
of residues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from biote.pair_batch import PairBatch


@dataclass(frozen=True, kw_only=True)
class Protein:
    """One protein of a batch."""

    row_id: str
    coordinates: Tensor
    """C-alpha coordinates in angstrom, (L, 3)."""

    tokens: Tensor
    """Token of every residue, -1 where the protein is trimmed, (L,)."""

    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class ResiduePairs:
    """Pairs of resolved residues that are far enough apart along the sequence."""

    first: Tensor
    """Residue that comes first, (P,)."""

    second: Tensor
    """The other residue, (P,)."""

    contacts: Tensor
    """Whether they are in contact, bool, (P,)."""

    @property
    def positions(self) -> Tensor:
        """Both residues, counted from 0, (P, 2)."""
        return torch.stack([self.first, self.second], dim=1)

    @property
    def separation(self) -> Tensor:
        """Residues from one to the other along the sequence, (P,)."""
        return self.second - self.first


def proteins_of(batch: PairBatch) -> Iterator[Protein]:
    """The proteins of a batch, in order.

    Args:
        batch: Batch of B proteins.
    """
    coordinates = batch.coordinates.split(list(batch.residues))
    tokens = batch.token_of_residue.split(list(batch.residues))
    for place, row_id in enumerate(batch.row_ids):
        yield Protein(
            row_id=row_id,
            coordinates=coordinates[place],
            tokens=tokens[place],
            n_tokens=batch.lengths[place] - 2,
        )


def residue_pairs(protein: Protein, *, cutoff_angstrom: float, min_separation: int) -> ResiduePairs:
    """The pairs of a protein that have a label.

    Args:
        protein: Protein of L residues.
        cutoff_angstrom: Residues nearer than this are in contact.
        min_separation: Least distance along the sequence.
    """
    length = len(protein.coordinates)
    first, second = torch.triu_indices(
        length, length, offset=min_separation, device=protein.coordinates.device
    )
    # Differences, not the faster products: rounding must not move a pair over the cutoff.
    distance = torch.cdist(
        protein.coordinates, protein.coordinates, compute_mode="donot_use_mm_for_euclid_dist"
    )
    resolved = protein.coordinates.isfinite().all(-1)
    labelled = resolved[first] & resolved[second]
    first, second = first[labelled], second[labelled]
    return ResiduePairs(
        first=first, second=second, contacts=distance[first, second] < cutoff_angstrom
    )


def token_targets(protein: Protein, pairs: ResiduePairs) -> tuple[Tensor, Tensor]:
    """What pairs of tokens are trained on: a contact if any of their residues are in contact.

    Args:
        protein: Protein of n tokens.
        pairs: Its labelled pairs of residues.

    Returns:
        Index of every labelled pair of tokens in the flattened n x n map, ascending, and whether
        it is a contact, as float.
    """
    of_pair, kept = _token_pairs(protein, pairs)
    labelled, inverse = torch.unique(of_pair[kept], return_inverse=True)
    contacts = torch.zeros(len(labelled), device=labelled.device)
    contacts.scatter_reduce_(0, inverse, pairs.contacts[kept].float(), "amax")
    return labelled, contacts


def residue_scores(protein: Protein, pairs: ResiduePairs, scores: Tensor) -> Tensor:
    """Give every pair of residues the score of its tokens, 0 where the protein is trimmed.

    Args:
        protein: Protein of n tokens.
        pairs: Pairs of its residues.
        scores: Scores of pairs of tokens, (n, n).

    Returns:
        (P,).
    """
    of_pair, kept = _token_pairs(protein, pairs)
    found = scores.flatten()[of_pair.clamp(min=0)] if protein.n_tokens else of_pair.float()
    return found * kept


def best_scores(protein: Protein, pairs: ResiduePairs, *, min_separation: int) -> Tensor:
    """Scores of the best ranking that tokens allow: the share of contacts of every token pair.

    Args:
        protein: Protein of n tokens.
        pairs: Its labelled pairs of residues.
        min_separation: Least distance along the sequence of the pairs that are ranked; of nearer
            ones nothing counts.

    Returns:
        (P,), 0 for pairs that are not ranked.
    """
    of_pair, kept = _token_pairs(protein, pairs)
    kept &= pairs.separation >= min_separation
    of_pair = torch.where(kept, of_pair, -1)
    labelled, inverse = torch.unique(of_pair, return_inverse=True)
    shares = torch.zeros(len(labelled), dtype=torch.float64, device=labelled.device)
    shares.scatter_reduce_(0, inverse, pairs.contacts.double(), "mean", include_self=False)
    return shares[inverse] * kept


def _token_pairs(protein: Protein, pairs: ResiduePairs) -> tuple[Tensor, Tensor]:
    """Place of every residue pair's tokens in the flattened map, and whether it has them."""
    rows, columns = protein.tokens[pairs.first], protein.tokens[pairs.second]
    kept = (rows >= 0) & (columns >= 0)
    return torch.where(kept, rows * protein.n_tokens + columns, -1), kept
