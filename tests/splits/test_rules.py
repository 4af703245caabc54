from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biote.errors import ConfigError, DataError
from biote.molecules import STANDARD_RESIDUES
from biote.splits import ALWAYS_TRAIN
from biote.splits.homology import all_scores, clusters
from biote.splits.rules import Dealt, HomologyRule, deal_by_homology


def protein(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(STANDARD_RESIDUES, k=length))


def mutated(sequence: str, seed: int) -> str:
    """A near copy: two residues are others."""
    letters = list(sequence)
    for place in random.Random(seed).sample(range(len(letters)), 2):
        letters[place] = "A" if letters[place] != "A" else "W"
    return "".join(letters)


def relatives(number: int) -> list[str]:
    """So many unrelated proteins, and a near copy of every third of them."""
    originals = [protein(40 + i, i) for i in range(number)]
    return originals + [mutated(sequence, 0) for sequence in originals[::3]]


def deal(
    proteins: list[str],
    *,
    rule: HomologyRule,
    cache: Path,
    folds: int = 3,
    seed: int = 0,
    threshold: float = 1.5,
    groups: list[str] | None = None,
) -> Dealt:
    return deal_by_homology(
        groups or proteins,
        proteins,
        folds,
        rule=rule,
        threshold=threshold,
        seed=seed,
        cache=cache,
    )


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


@settings(max_examples=25)
@given(
    copies=st.lists(st.integers(1, 4), min_size=16, max_size=16),
    seed=st.integers(0, 5),
    folds=st.integers(2, 4),
    rule=st.sampled_from(["paper", "cluster"]),
)
def test_similar_proteins_are_never_on_two_sides(
    cache: Path, copies: list[int], seed: int, folds: int, rule: HomologyRule
) -> None:
    # REFERENCE 6, 1 and 2: every row has one side; near copies and exact ones share theirs.
    proteins = [p for p, n in zip(relatives(12), copies, strict=True) for _ in range(n)]
    dealt = deal(proteins, rule=rule, cache=cache, folds=folds, seed=seed)
    tested = set(dealt.folds) - {ALWAYS_TRAIN}
    assert tested == set(range(folds))
    scores = all_scores(proteins)
    for i in range(len(proteins)):
        for j in range(i):
            if scores[i, j] > 1.5:
                assert dealt.folds[i] == dealt.folds[j]
                assert dealt.clusters[i] == dealt.clusters[j]
    assert len(set(dealt.clusters)) == len(set(clusters(scores))) == 12
    if rule == "cluster":
        assert ALWAYS_TRAIN not in dealt.folds
    else:
        held = {p for p, fold in zip(proteins, dealt.folds, strict=True) if fold == ALWAYS_TRAIN}
        originals = relatives(12)
        assert held == set(originals[:12:3] + originals[12:])


def test_folds_of_clusters_are_balanced_by_rows(tmp_path: Path) -> None:
    proteins = [p for i, p in enumerate(relatives(30)) for _ in range(1 + i % 5)]
    dealt = deal(proteins, rule="cluster", cache=tmp_path, folds=5)
    sizes = [dealt.folds.count(fold) for fold in range(5)]
    assert sum(sizes) == len(proteins)
    assert max(sizes) - min(sizes) <= 4


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    proteins = relatives(15)
    there = deal(proteins, rule="cluster", cache=tmp_path)
    back = deal(proteins[::-1], rule="cluster", cache=tmp_path)
    assert (back.folds[::-1], back.clusters[::-1]) == (there.folds, there.clusters)
    assert deal(proteins, rule="cluster", cache=tmp_path, seed=1).folds != there.folds


def test_the_threshold_decides_what_is_similar(tmp_path: Path) -> None:
    proteins = relatives(6)
    close = deal(proteins, rule="cluster", cache=tmp_path, threshold=9.0)
    assert close.clusters == tuple(proteins)
    with pytest.raises(DataError, match="1 groups cannot make 3 folds"):
        deal(proteins, rule="cluster", cache=tmp_path, threshold=-5.0)
    with pytest.raises(ConfigError, match="threshold nan"):
        deal(proteins, rule="cluster", cache=tmp_path, threshold=math.nan)


def test_groups_and_clusters_are_joined(tmp_path: Path) -> None:
    # Rows 0 and 1 share a group, 1 and 2 are near copies: all three stay together.
    first, second, *others = (protein(50, seed) for seed in range(6))
    proteins = [first, second, mutated(second, 0), *others]
    groups = ["x", "x", "y", "a", "b", "c", "d"]
    dealt = deal(proteins, groups=groups, rule="cluster", cache=tmp_path)
    assert dealt.clusters == ("x", "x", "x", "a", "b", "c", "d")
    assert len(set(dealt.folds[:3])) == 1
    # A group with one protein that has a neighbour is held whole.
    paper = deal(proteins, groups=groups, rule="paper", cache=tmp_path)
    assert paper.folds[:3] == (ALWAYS_TRAIN,) * 3
    assert sorted(set(paper.folds[3:])) == [0, 1, 2]


def test_too_few_dissimilar_proteins_are_refused(tmp_path: Path) -> None:
    proteins = [protein(40, 0), protein(40, 1)]
    proteins += [mutated(sequence, 0) for sequence in proteins] + [protein(40, 2), protein(40, 3)]
    with pytest.raises(DataError, match=r"2 clusters .* held in training, which leaves 2 for 3"):
        deal(proteins, rule="paper", cache=tmp_path)
