"""How well genes and their proteins find each other among held-out pairs.

Legend: N tested pairs, C pairs of a chunk, F features.

Pairs that share a gene or a protein (twins) are never negatives of each other. Ties count half.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from biote.contrastive_batch import LENGTH_TOLERANCE, Negatives
from biote.tasks.results import Score

RETRIEVED: Final = (1, 10, 100)
"""How many candidates are looked at for a right one."""

_CHUNK_VALUES: Final = 1 << 22


@dataclass(frozen=True, kw_only=True)
class HeldOutPairs:
    """Features of held-out pairs and what their negatives are matched by."""

    genes: Tensor
    """Features of unit length, (N, F)."""

    proteins: Tensor
    """Features of unit length, (N, F)."""

    protein_numbers: Tensor
    """Number of the protein, (N,): equal numbers are one candidate."""

    gene_numbers: Tensor
    """Number of the gene, (N,)."""

    twins: Tensor
    """Pairs with the same number are no negatives of each other, (N,)."""

    genomes: Tensor
    """Number of the genome, (N,)."""

    gene_lengths: Tensor
    """Nucleotides, (N,)."""

    protein_lengths: Tensor
    """Residues, (N,)."""

    def take(self, rows: Tensor) -> HeldOutPairs:
        """Some of the pairs.

        Args:
            rows: Which.
        """
        return HeldOutPairs(**{name: value[rows] for name, value in vars(self).items()})


def clip_scores(pairs: HeldOutPairs) -> list[Score]:
    """All metrics of a test.

    - ``cosine_true``, ``cosine_other``: mean cosine of a gene with its protein, with others.
    - ``auroc``, ``auroc_<negatives>``: probability that a true pair has a higher cosine than a
      pair of a gene and another protein, over all such pairs.
    - ``ranked_above``, ``ranked_above_<negatives>``: for every gene the share of its negatives
      that its own protein beats, and for every protein the same of genes; mean over both.
    - ``recall_at_K_<direction>``: queries whose own partner is among the K most similar distinct
      candidates; ``chance_at_K_<direction>`` is what guessing would give.

    Args:
        pairs: N tested pairs.
    """
    true = (pairs.genes * pairs.proteins).sum(1)  # (N,)
    forward = _compare(pairs, true, reverse=False)
    backward = _compare(pairs, true, reverse=True)
    n = len(true)
    scores = [
        Score(metric="cosine_true", value=float(true.double().mean()), n=n, unit=""),
        Score(
            metric="cosine_other",
            value=forward.other_cosine,
            n=forward.negatives[Negatives.ANY],
            unit="",
        ),
    ]
    for kind in Negatives:
        suffix = "" if kind is Negatives.ANY else f"_{kind}"
        number = forward.negatives[kind]
        scores.append(Score(metric=f"auroc{suffix}", value=forward.auroc[kind], n=number, unit=""))
        shares = torch.cat([forward.shares[kind], backward.shares[kind]])
        shares = shares[~shares.isnan()]
        scores.append(
            Score(metric=f"ranked_above{suffix}", value=_mean(shares), n=len(shares), unit="")
        )
    for direction, found in (("gene_to_protein", forward), ("protein_to_gene", backward)):
        for k in RETRIEVED:
            for name, values in (("recall", found.hits[k]), ("chance", found.chances[k])):
                scores.append(
                    Score(metric=f"{name}_at_{k}_{direction}", value=_mean(values), n=n, unit="")
                )
    return scores


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else float("nan")


@dataclass(frozen=True)
class _Comparison:
    """Queries of one side against candidates of the other."""

    other_cosine: float
    negatives: dict[Negatives, int]
    auroc: dict[Negatives, float]
    shares: dict[Negatives, Tensor]
    """Share of its negatives that every query's own partner beats, (N,), NaN without negatives."""
    hits: dict[int, Tensor]
    """Probability that the own partner is among the first K, ties broken at random, (N,)."""
    chances: dict[int, Tensor]


def _compare(pairs: HeldOutPairs, true: Tensor, *, reverse: bool) -> _Comparison:
    queries, candidates = pairs.genes, pairs.proteins
    numbers = pairs.protein_numbers
    if reverse:
        queries, candidates, numbers = candidates, queries, pairs.gene_numbers
    ascending = true.sort().values
    distinct = _first_of_each(numbers)
    total, count = 0.0, 0
    above = dict.fromkeys(Negatives, 0.0)
    negatives = dict.fromkeys(Negatives, 0)
    shares: dict[Negatives, list[Tensor]] = {kind: [] for kind in Negatives}
    hits: dict[int, list[Tensor]] = {k: [] for k in RETRIEVED}
    chances: dict[int, list[Tensor]] = {k: [] for k in RETRIEVED}
    for rows in _chunks(len(true)):
        cosines = queries[rows] @ candidates.T  # (C, N)
        own = true[rows, None]
        masks = _masks(pairs, rows)
        any_other = masks[Negatives.ANY]
        total += float(cosines[any_other].double().sum())
        count += int(any_other.sum())
        greater, equal = cosines > own, cosines == own
        for kind, mask in masks.items():
            number = mask.sum(1)
            beaten = number - (greater & mask).sum(1) - 0.5 * (equal & mask).sum(1)
            shares[kind].append(beaten / number)  # 0 / 0 is NaN: no negatives
            negatives[kind] += int(number.sum())
            if not reverse:
                above[kind] += _times_above(ascending, cosines[mask])
        listed = any_other & distinct
        better, ties = (greater & listed).sum(1), (equal & listed).sum(1)
        for k in RETRIEVED:
            hits[k].append(((k - better) / (ties + 1)).clamp(0, 1))
            chances[k].append((k / (listed.sum(1) + 1)).clamp(max=1))
    return _Comparison(
        other_cosine=total / count if count else float("nan"),
        negatives=negatives,
        auroc={
            kind: above[kind] / (negatives[kind] * len(true)) if negatives[kind] else float("nan")
            for kind in Negatives
        },
        shares={kind: torch.cat(values) for kind, values in shares.items()},
        hits={k: torch.cat(values) for k, values in hits.items()},
        chances={k: torch.cat(values) for k, values in chances.items()},
    )


def _times_above(ascending: Tensor, others: Tensor) -> float:
    """How many pairs of a true and another cosine have the true one above, ties counting half."""
    below = torch.searchsorted(ascending, others, right=False)
    not_above = torch.searchsorted(ascending, others, right=True)
    return float(len(ascending) * len(others) - 0.5 * float((below + not_above).sum()))


def _masks(pairs: HeldOutPairs, rows: Tensor) -> dict[Negatives, Tensor]:
    """Which candidates are negatives of each kind, (C, N)."""
    anything = pairs.twins[rows, None] != pairs.twins
    genome = anything & (pairs.genomes[rows, None] == pairs.genomes)
    matched = anything
    for lengths in (pairs.gene_lengths, pairs.protein_lengths):
        here = lengths[rows, None].double()
        longer, shorter = torch.maximum(here, lengths), torch.minimum(here, lengths)
        matched = matched & (longer <= LENGTH_TOLERANCE * shorter)
    return {
        Negatives.ANY: anything,
        Negatives.WITHIN_GENOME: genome,
        Negatives.LENGTH_MATCHED: matched,
        Negatives.WITHIN_GENOME_LENGTH_MATCHED: genome & matched,
    }


def _first_of_each(numbers: Tensor) -> Tensor:
    """Whether a number stands in its first place, (N,)."""
    kinds, inverse = torch.unique(numbers, return_inverse=True)
    places = torch.arange(len(numbers), device=numbers.device)
    first = torch.full((len(kinds),), len(numbers), device=numbers.device)
    first.scatter_reduce_(0, inverse, places, "amin")
    return first[inverse] == places


def _chunks(number: int) -> Iterator[Tensor]:
    size = max(1, _CHUNK_VALUES // max(number, 1))
    yield from torch.arange(number).split(size)
