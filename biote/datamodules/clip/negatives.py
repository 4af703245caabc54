"""Proteins of other pairs, drawn once for every tested pair, the same for every model.

Legend: N tested pairs, K kinds of negatives.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from biote.contrastive_batch import LENGTH_TOLERANCE, Negatives

Int64s = npt.NDArray[np.int64]

_TRIES = 50


def draw_others(
    *,
    twins: Int64s,
    genomes: Int64s,
    gene_lengths: Int64s,
    protein_lengths: Int64s,
    seed: int,
) -> Int64s:
    """Draw another pair of each kind for every pair.

    Args:
        twins: Pairs with the same number are no negatives of each other, (N,).
        genomes: Number of the genome, (N,).
        gene_lengths: Nucleotides, (N,).
        protein_lengths: Residues, (N,).
        seed: Decides the draw.

    Returns:
        Position of a pair of each of `Negatives`, -1 where so many draws found none, (N, K).
    """
    size = len(twins)
    everything, nothing = np.zeros(size, np.int64), np.ones(size)
    columns = []
    for number, kind in enumerate(Negatives):
        genome = genomes if "genome" in kind else everything
        matched = "length" in kind
        # Candidates of a pair stand next to each other in this order.
        order = np.lexsort((protein_lengths if matched else everything, genome))
        lengths = protein_lengths[order] if matched else nothing
        keys = genome[order] * 1e7 + lengths
        asked = genome * 1e7
        if matched:
            low = np.searchsorted(keys, asked + protein_lengths / LENGTH_TOLERANCE, "left")
            high = np.searchsorted(keys, asked + protein_lengths * LENGTH_TOLERANCE, "right")
        else:
            low, high = (
                np.searchsorted(keys, asked, "left"),
                np.searchsorted(keys, asked + 1, "right"),
            )
        generator = np.random.default_rng([seed, number])
        found = np.full(size, -1, np.int64)
        for _ in range(_TRIES):
            waiting = np.flatnonzero(found < 0)
            drawn = order[generator.integers(low[waiting], high[waiting])]
            fits = twins[drawn] != twins[waiting]
            if matched:
                longer = np.maximum(gene_lengths[drawn], gene_lengths[waiting])
                shorter = np.minimum(gene_lengths[drawn], gene_lengths[waiting])
                fits &= longer <= LENGTH_TOLERANCE * shorter
            found[waiting[fits]] = drawn[fits]
        columns.append(found)
    return np.stack(columns, axis=1)
