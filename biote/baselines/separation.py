"""Contacts predicted from the distance along the sequence alone.

Legend: P pairs of residues, S largest separation seen in training.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from biote.errors import DataError
from biote.tasks.pairs import ResiduePairs


def separation_frequencies(pairs: Iterable[ResiduePairs]) -> Tensor:
    """Share of contacts among training pairs, by separation.

    Separations beyond those seen have the share of the last one that was seen; a separation that
    is missing in between has that of the one before.

    Args:
        pairs: Labelled pairs of every training protein.

    Returns:
        Share of contacts at separations 0, 1, ... S, (S + 1,).

    Raises:
        DataError: If there is no pair.
    """
    totals, contacts = torch.zeros(0), torch.zeros(0)
    for of in pairs:
        size = max(len(totals), int(of.separation.max()) + 1 if len(of.first) else 0)
        counted = torch.bincount(of.separation, minlength=size).double()
        near = torch.bincount(of.separation[of.contacts], minlength=size).double()
        totals = counted + torch.nn.functional.pad(totals, (0, size - len(totals)))
        contacts = near + torch.nn.functional.pad(contacts, (0, size - len(contacts)))
    if not totals.any():
        raise DataError("no labelled pair in training", mend="check the coordinates")
    shares = contacts / totals.clamp(min=1)
    seen = torch.where(totals > 0, torch.arange(len(totals)), 0).cummax(0).values
    return shares[seen]


def separation_scores(frequencies: Tensor, separation: Tensor) -> Tensor:
    """Score pairs by how often residues so far apart are in contact.

    Args:
        frequencies: What `separation_frequencies` gives, (S + 1,).
        separation: Residues from one of a pair to the other, (P,).

    Returns:
        Probabilities, (P,).
    """
    return frequencies[separation.clamp(max=len(frequencies) - 1)]
