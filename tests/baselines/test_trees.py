from __future__ import annotations

import sys

import numpy as np
import pytest

from biote.baselines.trees import TREES, require_trees, tree_predictions, trees_name
from biote.errors import ConfigError
from biote.molecules import Molecule

RESIDUES = list("ARNDCQEGHILKMFPSTWYV")


def parts(n: int, rng: np.random.Generator) -> list[tuple[tuple[str, Molecule], ...]]:
    """Proteins whose share of W and strands whose share of G decide a number."""
    found: list[tuple[tuple[str, Molecule], ...]] = []
    for _ in range(n):
        protein = "W" * int(rng.integers(20)) + "".join(rng.choice(RESIDUES, 20))
        strand = "G" * int(rng.integers(20)) + "".join(rng.choice(list("ACT"), 20))
        found.append(((protein, Molecule.PROTEIN), (strand, Molecule.DNA)))
    return found


def test_trees_learn_from_both_halves() -> None:
    rng = np.random.default_rng(0)
    train, test = parts(300, rng), parts(60, rng)

    def number(row: tuple[tuple[str, Molecule], ...]) -> list[float]:
        (protein, _), (strand, _) = row
        return [protein.count("W") + strand.count("G") - 30.0]

    targets = np.array([number(row) for row in train])
    truth = np.array([number(row) for row in test])
    found = tree_predictions(train, targets, test, kind="regression", n_classes=1)
    assert found.shape == (60, 1)
    assert np.corrcoef(found[:, 0], truth[:, 0])[0, 1] > 0.9
    classes = (targets > -12).astype(np.float64) * 2  # of three classes one is absent
    scores = tree_predictions(train, classes, test, kind="classification", n_classes=3)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert (scores[:, 1] == 0).all()
    assert ((scores.argmax(axis=1) == 2) == (truth[:, 0] > -12)).mean() > 0.9


def test_longer_kmers_are_seen_where_they_are_asked_for() -> None:
    # Every protein has the same residues and the same pairs of them around it; triples tell.
    one, other = "WKWRKKRRWRWKK", "WRWKKRRKWKWRR"
    train: list[tuple[tuple[str, Molecule], ...]] = [
        (("A" * (i % 7) + (one if i % 2 else other), Molecule.PROTEIN), ("ACGT", Molecule.DNA))
        for i in range(120)
    ]
    targets = np.array([[float(i % 2)] for i in range(120)])
    assert trees_name(2) == TREES
    assert trees_name(3) != TREES
    found = tree_predictions(
        train, targets, train[:10], kind="regression", n_classes=1, protein_k_max=3
    )
    np.testing.assert_allclose(found[:, 0], targets[:10, 0], atol=0.05)


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match=r"scikit-learn.*pip install 'biote\[baselines\]'"):
        require_trees()
