from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import parasail
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biote.errors import DataError
from biote.molecules import STANDARD_RESIDUES
from biote.splits.homology import (
    all_scores,
    best_scores,
    cluster_sequences,
    clusters,
    has_neighbour,
    identity,
    linked,
    links_of,
)

proteins = st.text(STANDARD_RESIDUES + "XUO", min_size=1, max_size=40)


def protein(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(STANDARD_RESIDUES, k=length))


def family(length: int, seed: int) -> list[str]:
    """A protein and two copies, one with residues replaced and one with some left out."""
    first = protein(length, seed)
    return [first, "W" + first[1 : length // 2] + "W" + first[length // 2 + 1 :], first[5:]]


def needleman_wunsch(a: str, b: str) -> int:
    """The score by plain dynamic programming with affine gaps."""
    low = -(10**9)
    match, down, right = (np.full((len(a) + 1, len(b) + 1), low) for _ in range(3))
    match[0, 0] = 0
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i and j:
                best = max(match[i - 1, j - 1], down[i - 1, j - 1], right[i - 1, j - 1])
                match[i, j] = (
                    best
                    + parasail.blosum62.matrix[
                        "ARNDCQEGHILKMFPSTWYVBZX".index(a[i - 1]),
                        "ARNDCQEGHILKMFPSTWYVBZX".index(b[j - 1]),
                    ]
                )
            if i:
                above = max(match[i - 1, j], right[i - 1, j])
                down[i, j] = max(above - 10, down[i - 1, j] - 1)
            if j:
                left = max(match[i, j - 1], down[i, j - 1])
                right[i, j] = max(left - 10, right[i, j - 1] - 1)
    return int(max(table[len(a), len(b)] for table in (match, down, right)))


@settings(max_examples=30)
@given(
    a=st.text(STANDARD_RESIDUES, min_size=1, max_size=10),
    b=st.text("ARNDX", min_size=1, max_size=8),
)
def test_scores_are_those_of_plain_dynamic_programming(a: str, b: str) -> None:
    scores = all_scores([a, b], workers=1)
    assert scores[0, 1] == scores[1, 0]
    assert scores[0, 1] == needleman_wunsch(a, b) / max(len(a), len(b))
    assert scores[0, 0] == needleman_wunsch(a, a) / len(a)


def test_a_score_by_hand() -> None:
    # ARND with AND: one residue left out (-10), A-A 4, N-N 6, D-D 6; the longer has 4 residues.
    assert all_scores(["ARND", "AND"])[0, 1] == (4 - 10 + 6 + 6) / 4
    # Two residues left out cost 10 + 1.
    assert all_scores(["ARRND", "AND"])[0, 1] == (4 - 11 + 6 + 6) / 5
    assert identity("ARND", "AND") == 3 / 4


def test_rare_residues_are_scored_as_what_they_are_made_from() -> None:
    scores = all_scores(["MUUK", "MCCK", "MOKK", "MKKK"])
    assert scores[0, 1] == scores[1, 1] == scores[0, 0]
    assert scores[2, 3] == scores[3, 3]


def test_proteins_beyond_sixteen_bits_are_scored() -> None:
    long = "W" * 5000
    assert all_scores([long, "W"])[0].tolist() == [11.0, (11 - 10 - 4998) / 5000]


@given(sequences=st.lists(proteins, min_size=1, max_size=12), threads=st.integers(1, 3))
def test_the_best_reference_is_that_of_all_pairs(sequences: list[str], threads: int) -> None:
    queries, references = sequences[: len(sequences) // 2], sequences[len(sequences) // 2 :]
    found = best_scores(queries, references, workers=threads)
    pairs = all_scores(sequences, workers=threads)[: len(queries), len(queries) :]
    assert found.scores.tolist() == pairs.max(axis=1).tolist()
    assert found.references.tolist() == pairs.argmax(axis=1).tolist()


@given(
    sequences=st.lists(proteins, max_size=12),
    threshold=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.5, 4.0]),
)
def test_clusters_are_the_same_with_and_without_the_matrix(
    sequences: list[str], threshold: float
) -> None:
    scores = all_scores(sequences)
    labels = clusters(scores, threshold)
    assert cluster_sequences(sequences, threshold) == labels
    # Single linkage: linked pairs share a cluster, and a member of a larger one is linked.
    for i in range(len(sequences)):
        for j in range(i):
            assert scores[i, j] <= threshold or labels[i] == labels[j]
    alone = [labels.count(label) == 1 for label in labels]
    assert [not neighbour for neighbour in has_neighbour(scores, threshold)] == alone


@given(st.lists(proteins, min_size=2, max_size=8), st.floats(-1.0, 4.0), st.data())
@settings(max_examples=30)
def test_links_of_some_are_those_of_all_pairs(
    sequences: list[str], threshold: float, data: st.DataObject
) -> None:
    places = st.integers(0, len(sequences) - 1)
    chosen = data.draw(st.lists(places, min_size=1, unique=True))
    scores = all_scores(sequences)
    wanted = {
        frozenset((i, j))
        for i in chosen
        for j in range(len(sequences))
        if i != j and scores[i, j] > threshold
    }
    found = links_of(sequences, chosen, threshold)
    assert all(first in chosen for first, _ in found)
    assert len(found) == len(wanted)
    assert {frozenset(pair) for pair in found} == wanted


def test_families_are_clusters() -> None:
    sequences = [member for seed in range(4) for member in family(80, seed)]
    assert clusters(all_scores(sequences)) == [seed for seed in range(4) for _ in range(3)]


def test_linkage_goes_through_others() -> None:
    assert linked(6, [(0, 4), (4, 2), (5, 3)]) == [0, 1, 0, 2, 0, 2]
    assert linked(3, []) == [0, 1, 2]


def test_progress_reaches_all_pairs() -> None:
    told: list[tuple[int, int]] = []
    all_scores([protein(20, i) for i in range(5)], progress=lambda *pairs: told.append(pairs))
    assert told[-1] == (15, 15)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [(["MK", ""], "protein 1: no residue to align"), (["MK", "M1"], "protein 1: character '1'")],
)
def test_what_cannot_be_aligned_is_refused(sequences: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        all_scores(sequences)
    with pytest.raises(DataError, match="no protein to compare with"):
        best_scores(["MK"], [])


@pytest.mark.full
def test_the_figures_of_the_paper_on_the_real_proteins(real_data: Path) -> None:
    content = json.loads((real_data / "pronab" / "pronab_no_mutations.json").read_text())
    sequences = sorted({entry["Sequence"] for entry in content.values()})
    assert len(sequences) == 752
    scores = all_scores(sequences)
    same = np.diag(scores)
    pairs = scores[np.triu_indices(752, k=1)]
    assert len(pairs) == 282_376
    assert (round(same.mean(), 2), round(same.std(), 2)) == (5.21, 0.15)
    assert round(100 * (pairs < 0).mean(), 2) == 99.50
    assert round(100 * (pairs < 1).mean(), 2) == 99.92
    assert has_neighbour(scores).sum() == 199
    sizes = np.bincount(clusters(scores))
    assert (len(sizes), sizes.max()) == (638, 7)
