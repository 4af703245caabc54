"""The three rules by which proteins are dealt into folds.

``protein`` keeps exact copies together. ``paper`` also holds every protein that is similar to
another one in the training part of every fold. ``cluster`` deals whole clusters of similar
proteins, so that every protein is tested once and none on what its relatives taught.

Source: paper, Methods (Delta G), for the first two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from biote.errors import ConfigError, DataError
from biote.splits.folds import ALWAYS_TRAIN, assign_folds
from biote.splits.homology import OnPairs, clusters, has_neighbour, linked
from biote.splits.score_cache import cached_scores

HomologyRule = Literal["paper", "cluster"]
Rule = Literal["protein", "paper", "cluster"]
RULES: Final[tuple[Rule, ...]] = ("protein", "paper", "cluster")


@dataclass(frozen=True)
class Dealt:
    """Cluster and fold of every row."""

    clusters: tuple[str, ...]
    """Rows of one cluster stand on one side; named after the first of its groups."""

    folds: tuple[int, ...]
    """Number of the test fold, or `biote.splits.ALWAYS_TRAIN`."""


def deal_by_homology(
    groups: Sequence[str],
    proteins: Sequence[str],
    folds: int,
    *,
    rule: HomologyRule,
    threshold: float,
    seed: int,
    cache: Path,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> Dealt:
    """Deal rows into folds so that no protein is similar to one on another side.

    Args:
        groups: Group of every row; rows of a group stay together whatever their proteins.
        proteins: Protein of every row.
        folds: Number of folds.
        rule: ``cluster`` deals whole clusters, ``paper`` holds similar proteins in training.
        threshold: Proteins with a higher score are similar.
        seed: Changes which clusters meet in a fold.
        cache: Folder that keeps alignment scores.
        workers: Threads that align; None for one a core.
        progress: Is told pairs aligned and pairs in all.

    Raises:
        ConfigError: If the threshold is no number.
        DataError: If a protein cannot be aligned, or too few clusters are left to deal.
    """
    if not math.isfinite(threshold):
        raise ConfigError(
            f"threshold {threshold}", where="similarity", mend="give a score per residue, as 1.5"
        )
    distinct = sorted(set(proteins))
    scores = cached_scores(distinct, cache, workers=workers, progress=progress)
    label = dict(zip(distinct, clusters(scores, threshold), strict=True))
    similar = dict(zip(distinct, has_neighbour(scores, threshold).tolist(), strict=True))
    names = _cluster_names(groups, [label[protein] for protein in proteins])
    if rule == "cluster":
        return Dealt(names, tuple(assign_folds(names, folds, seed=seed)))
    held = {name for name, protein in zip(names, proteins, strict=True) if similar[protein]}
    free = [i for i, name in enumerate(names) if name not in held]
    dealt = [ALWAYS_TRAIN] * len(names)
    if len({names[i] for i in free}) < folds:
        raise DataError(
            f"{len(held)} clusters of proteins similar to others are held in training, which "
            f"leaves {len({names[i] for i in free})} for {folds} folds",
            where="folds",
            mend="use rule cluster, a higher threshold or fewer folds",
        )
    for i, fold in zip(free, assign_folds([names[i] for i in free], folds, seed=seed), strict=True):
        dealt[i] = fold
    return Dealt(names, tuple(dealt))


def _cluster_names(groups: Sequence[str], labels: Sequence[int]) -> tuple[str, ...]:
    """Join groups whose proteins share a cluster, and clusters that share a group.

    Groups and labels are the two sides of one graph, whose connected parts are the clusters.
    """
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    links = [(number[g], len(number) + label) for g, label in zip(groups, labels, strict=True)]
    joined = linked(len(number) + 1 + max(labels), links)
    members: dict[int, list[str]] = defaultdict(list)
    for group, i in number.items():
        members[joined[i]].append(group)
    return tuple(min(members[joined[number[group]]]) for group in groups)
