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
from biote.tasks.clip_intervals import Influence, Means, intervals
from biote.tasks.results import HIGH, LOW, Score

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

    groups: Tensor
    """Number of the group that the split keeps on one side, (N,): what intervals resample."""

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
    - ``<metric>_low``, ``<metric>_high``: ends of the 95 % interval of an AUROC, a share ranked
      above or a recall, groups of the split resampled; their ``n`` is the number of groups.

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
    return _with_intervals(scores, pairs, forward, backward)


def _with_intervals(
    scores: list[Score], pairs: HeldOutPairs, forward: _Comparison, backward: _Comparison
) -> list[Score]:
    """The scores, each that has an interval followed by its two ends."""
    sources: dict[str, Influence | Means] = {}
    for kind in Negatives:
        suffix = "" if kind is Negatives.ANY else f"_{kind}"
        sources[f"auroc{suffix}"] = Influence(forward.auroc[kind], forward.influence[kind])
        both = torch.stack([forward.shares[kind], backward.shares[kind]])  # (2, N)
        sources[f"ranked_above{suffix}"] = Means(both)
    for direction, found in (("gene_to_protein", forward), ("protein_to_gene", backward)):
        for k in RETRIEVED:
            sources[f"recall_at_{k}_{direction}"] = Means(found.hits[k])
    ends = intervals(sources, pairs.groups)
    groups = len(torch.unique(pairs.groups))
    every: list[Score] = []
    for score in scores:
        every.append(score)
        for name, value in zip((LOW, HIGH), ends.get(score.metric, ()), strict=False):
            every.append(Score(metric=score.metric + name, value=value, n=groups, unit=""))
    return every


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else float("nan")


@dataclass(frozen=True)
class _Comparison:
    """Queries of one side against candidates of the other."""

    other_cosine: float
    negatives: dict[Negatives, int]
    auroc: dict[Negatives, float]
    influence: dict[Negatives, Tensor]
    """How much each pair moves the AUROC, (N,); empty in the reverse direction."""
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
    rankings = {} if reverse else {kind: _Ranking(true) for kind in Negatives}
    distinct = _first_of_each(numbers)
    total, count = 0.0, 0
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
        places = None if reverse else _Places.of(cosines, true)
        for kind, mask in masks.items():
            number = mask.sum(1)
            beaten = number - (greater & mask).sum(1) - 0.5 * (equal & mask).sum(1)
            shares[kind].append(beaten / number)  # 0 / 0 is NaN: no negatives
            negatives[kind] += int(number.sum())
            if places is not None:
                rankings[kind].add(rows, places, mask)
        listed = any_other & distinct
        better, ties = (greater & listed).sum(1), (equal & listed).sum(1)
        for k in RETRIEVED:
            hits[k].append(((k - better) / (ties + 1)).clamp(0, 1))
            chances[k].append((k / (listed.sum(1) + 1)).clamp(max=1))
    return _Comparison(
        other_cosine=total / count if count else float("nan"),
        negatives=negatives,
        auroc={kind: ranking.auroc for kind, ranking in rankings.items()},
        influence={kind: ranking.influence for kind, ranking in rankings.items()},
        shares={kind: torch.cat(values) for kind, values in shares.items()},
        hits={k: torch.cat(values) for k, values in hits.items()},
        chances={k: torch.cat(values) for k, values in chances.items()},
    )


@dataclass(frozen=True)
class _Places:
    """Where cosines of others stand among those of true pairs."""

    above: Tensor
    """True cosines that are higher, ties counting half, (C, N)."""

    left: Tensor
    """True cosines that are lower, (C, N)."""

    right: Tensor
    """True cosines that are not higher, (C, N)."""

    @classmethod
    def of(cls, cosines: Tensor, true: Tensor) -> _Places:
        """Look cosines up among those of true pairs."""
        ascending = true.sort().values
        left = torch.searchsorted(ascending, cosines, right=False)
        right = torch.searchsorted(ascending, cosines, right=True)
        return cls(len(true) - 0.5 * (left + right).double(), left, right)


class _Ranking:
    """Sums over true pairs and negatives of one kind: the AUROC, and what each pair adds to it."""

    def __init__(self, true: Tensor) -> None:
        n = len(true)
        self._order = true.argsort()
        self._of_gene = true.new_zeros(n, dtype=torch.float64)
        self._of_protein = torch.zeros_like(self._of_gene)
        self._genes = torch.zeros_like(self._of_gene)  # negatives that a pair's gene is in
        self._proteins = torch.zeros_like(self._of_gene)
        self._lower = true.new_zeros(2, n + 1, dtype=torch.int64)

    def add(self, rows: Tensor, places: _Places, mask: Tensor) -> None:
        """Count the negatives of some genes.

        Args:
            rows: Pairs of the genes, (C,).
            places: Of all cosines of theirs, (C, N).
            mask: Which are negatives, (C, N).
        """
        above = places.above.masked_fill(~mask, 0.0)
        self._of_gene[rows] += above.sum(1)
        self._of_protein += above.sum(0)
        self._genes[rows] += mask.sum(1)
        self._proteins += mask.sum(0)
        for line, found in zip(self._lower, (places.left, places.right), strict=True):
            line += torch.bincount(found[mask], minlength=len(line))

    @property
    def auroc(self) -> float:
        """Share of comparisons of a true pair with a negative that the true one wins."""
        comparisons = float(self._genes.sum()) * len(self._genes)
        return float(self._of_gene.sum()) / comparisons if comparisons else float("nan")

    @property
    def influence(self) -> Tensor:
        """Derivative of the AUROC by the weight of every pair, (N,).

        A pair of weight w counts w times as the true one, as the gene and as the protein of
        negatives.
        """
        n, negatives = len(self._genes), self._genes.sum()
        # A true cosine beats the negatives whose place is not behind its own, ties half.
        beaten = 0.5 * self._lower.cumsum(1)[:, :n].sum(0).double()
        of_true = torch.empty_like(beaten)
        of_true[self._order] = beaten
        wins = of_true + self._of_gene + self._of_protein
        comparisons = negatives + n * (self._genes + self._proteins)
        return (wins - self.auroc * comparisons) / (negatives * n)


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
