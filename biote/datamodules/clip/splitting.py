"""Which pairs are trained on: a few whole groups, the rest is tested.

Legend: N pairs.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from biote.contrastive_batch import Side
from biote.datamodules.clip.table import PairColumns, join_equal, read_sequences
from biote.errors import ConfigError, DataError
from biote.splits import FoldAssignment, load_folds
from biote.splits.homology import linked, links_of
from biote.splits.kmer_links import similar_pairs

logger = logging.getLogger(__name__)

PairSplit = Literal["random", "cluster", "column"]

TEST: Final = 0
TRAIN: Final = 1
MOST_CLUSTERED: Final = 40_000
"""Distinct proteins above which clustering them here would take hours."""

_LOGGED_EVERY: Final = 5_000


def pair_groups(columns: PairColumns, split: PairSplit, *, similar_above: float) -> list[str]:
    """Groups of pairs that stay on one side.

    Whatever the split, pairs with the same gene letters or the same protein are in one group.
    ``cluster`` also joins pairs whose proteins score above the threshold (single linkage over
    those with enough k-mers in common; `WholeClusters` finds the others), and pairs whose genes
    overlap by half of the shorter one on the same strand of a record. ``column`` joins pairs of
    the same label.

    Args:
        columns: The pairs.
        split: How to group.
        similar_above: Score per residue above which proteins are similar.

    Returns:
        Group of every pair, N of them.

    Raises:
        ConfigError: If the split is unknown or has no column.
        DataError: If there are too many proteins to cluster.
    """
    if split not in get_args(PairSplit):
        raise ConfigError(
            f"unknown split {split!r}",
            where="data.split",
            mend=f"accepted: {', '.join(get_args(PairSplit))}",
        )
    labels: list[Sequence[object]] = [columns.twins.tolist()]
    if split == "column":
        if columns.group_labels is None:
            raise ConfigError(
                "no column to split by", where="data.group_column", mend="name one of the table"
            )
        labels.append(columns.group_labels)
    elif split == "cluster":
        clusters = _clusters(columns, similar_above)
        labels += [[clusters[protein] for protein in columns.proteins.tolist()], _loci(columns)]
    return [columns.ids[i] for i in _first_members(join_equal(*labels))]


def _first_members(components: list[int]) -> list[int]:
    first: dict[int, int] = {}
    return [first.setdefault(component, i) for i, component in enumerate(components)]


def _clusters(columns: PairColumns, similar_above: float) -> list[int]:
    """Cluster of every distinct protein."""
    number = len(columns.rows[Side.PROTEIN])
    if number > MOST_CLUSTERED:
        raise DataError(
            f"{number:,} distinct proteins, at most {MOST_CLUSTERED:,} are clustered here",
            where=str(columns.path),
            mend="cluster them elsewhere, add the clusters as a column, and set data.split: column "
            "and data.group_column",
        )
    letters = _proteins(columns)

    def told(done: int, total: int) -> None:
        if done % _LOGGED_EVERY == 0:
            logger.info("Clustering: %d of %d proteins compared.", done, total)

    return linked(number, similar_pairs(letters, similar_above, progress=told))


class WholeClusters:
    """Joins clusters that few common k-mers have parted, as far as a split depends on them.

    Aligning all pairs of proteins would take hours; aligning those that are trained on with all
    others takes minutes, and finds every protein above the threshold that would be tested.

    Args:
        columns: The pairs.
        similar_above: Score per residue above which proteins are similar.
    """

    def __init__(self, columns: PairColumns, similar_above: float) -> None:
        self._columns = columns
        self._similar_above = similar_above
        self._compared: set[int] = set()

    @cached_property
    def _sequences(self) -> list[str]:
        return _proteins(self._columns)

    def __call__(self, groups: list[str], trained: list[bool]) -> list[str]:
        """Join the groups of similar proteins that training pairs have elsewhere.

        Args:
            groups: Group of every pair, N of them.
            trained: Whether each pair is to be trained on.

        Returns:
            Group of every pair.
        """
        of_pair = self._columns.proteins
        chosen = np.unique(of_pair[np.array(trained)])
        new = [protein for protein in chosen.tolist() if protein not in self._compared]
        if not new:
            return groups
        self._compared.update(new)
        sequences = self._sequences
        logger.info(
            "Clustering: %d proteins to train on are aligned with all %d.", len(new), len(sequences)
        )
        tenth = 0

        def told(done: int, total: int) -> None:
            nonlocal tenth
            if 10 * done // total > tenth:
                tenth = 10 * done // total
                logger.info("Clustering: %d %% of these pairs aligned.", 10 * tenth)

        links = links_of(sequences, new, self._similar_above, progress=told)
        # As many labels as pairs: linked proteins share one, and so do the pairs of a group.
        clusters = linked(len(sequences), links)
        joined = join_equal(groups, [clusters[protein] for protein in of_pair.tolist()])
        parted = len(set(groups)) - len(set(joined))
        logger.info("Clustering: %d groups joined to others.", parted)
        return [self._columns.ids[i] for i in _first_members(joined)] if parted else groups


def _proteins(columns: PairColumns) -> list[str]:
    """Every distinct protein."""
    number = len(columns.rows[Side.PROTEIN])
    return [text for _, _, text in read_sequences(columns, Side.PROTEIN, start=0, stop=number)]


def _loci(columns: PairColumns) -> list[int]:
    """Component of every pair among genes that overlap by half of the shorter one."""
    links = []
    order = sorted(range(len(columns.loci)), key=lambda i: columns.loci[i])
    open_: list[int] = []
    for i in order:
        record, strand, start, end = columns.loci[i]
        open_ = [
            j
            for j in open_
            if columns.loci[j][:2] == (record, strand) and columns.loci[j][3] > start
        ]
        for j in open_:
            _, _, other_start, other_end = columns.loci[j]
            shorter = min(end - start, other_end - other_start)
            if 2 * (min(end, other_end) - start) >= shorter:
                links.append((j, i))
        open_.append(i)
    return linked(len(columns.loci), links)


@dataclass(frozen=True)
class SplitPairs:
    """N pairs on two sides."""

    trained: npt.NDArray[np.bool_]
    """Whether each pair is trained on, (N,)."""

    groups: npt.NDArray[np.int64]
    """Number of the group that stays on one side, (N,)."""


def split_pairs(
    columns: PairColumns,
    make_groups: Callable[[], list[str]],
    complete: Callable[[list[str], list[bool]], list[str]] | None = None,
    *,
    rule: str,
    train_fraction: float,
    seed: int,
    fingerprint: str,
    path: Path,
) -> SplitPairs:
    """Decide which pairs are trained on by a split file, which is made if it is not there.

    Args:
        columns: The pairs.
        make_groups: Makes the group of every pair; asked only where there is no file, for it can
            take minutes.
        complete: Joins groups that a choice of training pairs would part wrongly; asked until it
            finds none.
        rule: How they are grouped, with all that decides it.
        train_fraction: Share of the pairs to train on.
        seed: Chooses the groups.
        fingerprint: Hash of the pairs.
        path: Split file, in the format of fold files: fold 0 is tested, fold 1 trained on.

    Returns:
        Sides and groups.

    Raises:
        ConfigError: If the file was made with another seed.
        DataError: If the file does not fit the pairs, or a side has fewer than two pairs.
    """
    benchmark = "gene-protein pairs"
    if path.exists():
        assignment = load_folds(path)
        if assignment.seed != seed:
            raise ConfigError(
                f"{path} was made with seed {assignment.seed}, not {seed}",
                where="data.split_file",
                mend="give that one as data.split_seed, or another path",
            )
        # What it says of groups is protected by its hash, and by rule and fingerprint they are
        # those that would be made.
        assignment.check(
            benchmark=benchmark,
            rule=rule,
            threshold=None,
            data_fingerprint=fingerprint,
            group_of=dict(zip(assignment.row_ids, assignment.groups, strict=True)),
            protein_of=dict.fromkeys(assignment.row_ids),
        )
    else:
        groups = make_groups()
        sides = choose_groups(groups, train_fraction, seed=seed)
        while complete is not None and (joined := complete(groups, sides)) != groups:
            groups = joined
            sides = choose_groups(groups, train_fraction, seed=seed)
        assignment = FoldAssignment(
            benchmark=benchmark,
            rule=rule,
            threshold=None,  # the rule says what it was made with
            seed=seed,
            folds=2,
            data_fingerprint=fingerprint,
            row_ids=columns.ids,
            groups=tuple(groups),
            clusters=tuple(groups),
            proteins=(None,) * len(groups),  # sequences on two sides are looked for below
            assignment=tuple(TRAIN if side else TEST for side in sides),
        )
        assignment.save(path)
        logger.info("Gene-protein pairs: the split is written to %s.", path)
    logger.info(
        "Gene-protein pairs: %d groups (%s), the largest of %d pairs.",
        len(set(assignment.groups)),
        rule,
        Counter(assignment.groups).most_common(1)[0][1],
    )
    fold_of = assignment.fold_of
    group_of = dict(zip(assignment.row_ids, assignment.groups, strict=True))
    _, groups_in_order = np.unique([group_of[row] for row in columns.ids], return_inverse=True)
    trained = np.array([fold_of[row] == TRAIN for row in columns.ids])
    refuse_shared_sequences(columns, trained)
    for name, number in (("train", trained.sum()), ("test", (~trained).sum())):
        if number < 2:
            raise DataError(
                f"{number} {name} pairs", where=str(columns.path), mend="at least 2 are needed"
            )
    return SplitPairs(trained, groups_in_order.astype(np.int64))


def choose_groups(groups: Sequence[str], train_fraction: float, *, seed: int) -> list[bool]:
    """Take groups at random until they make up a share of the pairs.

    A group that would make it more is passed over, so the largest ones are tested.

    Args:
        groups: Group of every pair.
        train_fraction: Share of the pairs to take.
        seed: Decides, with the name of a group, when its turn is.

    Returns:
        Whether each pair is taken.

    Raises:
        ConfigError: If the share is not between 0 and 1.
    """
    if not 0 < train_fraction < 1:
        raise ConfigError(
            f"{train_fraction}", where="data.train_fraction", mend="give a number between 0 and 1"
        )
    sizes = Counter(groups)
    room = round(len(groups) * train_fraction)
    taken = set()
    for group in sorted(
        sizes, key=lambda group: hashlib.blake2b(f"{seed}:{group}".encode()).digest()
    ):
        if sizes[group] <= room:
            taken.add(group)
            room -= sizes[group]
    return [group in taken for group in groups]


def refuse_shared_sequences(columns: PairColumns, trained: npt.NDArray[np.bool_]) -> None:
    """Refuse a split with a gene or a protein on two sides.

    Args:
        columns: The pairs.
        trained: Whether each pair is trained on, (N,).

    Raises:
        DataError: If there is one.
    """
    for name, numbers in (("protein", columns.proteins), ("gene", columns.twins)):
        shared = np.intersect1d(numbers[trained], numbers[~trained])
        if len(shared):
            pair = columns.ids[int(np.flatnonzero(numbers == shared[0])[0])]
            raise DataError(
                f"the {name} of pair {pair} stands on both sides of the split",
                where=str(columns.path),
                mend="delete the split file and let biote make it anew",
            )
