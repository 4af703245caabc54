from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from biote.baselines.kmers import kmer_frequencies
from biote.baselines.trivial import Parts, kmer_block, trivial_baselines
from biote.datamodules.pronab import read_pronab
from biote.molecules import STANDARD_RESIDUES, Modality, Molecule
from biote.splits import assign_folds
from biote.synthetic.pronab import draw_binding_data, write_pronab
from biote.synthetic.proteins import draw_families


def _row(protein: str, *strands: str) -> Parts:
    return ((protein, Molecule.PROTEIN), *((strand, Molecule.DNA) for strand in strands))


def test_strands_are_averaged_and_modalities_kept_apart() -> None:
    rows = [_row("MKT", "AAC", "GTTT"), _row("MKT", "AAC"), ((("ACG"), Molecule.RNA),)]
    nucleic = kmer_block(rows, Modality.NUCLEIC)
    of = kmer_frequencies(["AAC", "GTTT", "ACG"], "ACGT", 3)
    np.testing.assert_allclose(
        nucleic.distinct[nucleic.index], [(of[0] + of[1]) / 2, of[0], of[2]], atol=1e-6
    )
    protein = kmer_block(rows, Modality.PROTEIN)
    dense = protein.distinct[protein.index]
    np.testing.assert_allclose(dense[0], kmer_frequencies(["MKT"], STANDARD_RESIDUES, 3)[0])
    assert len(protein.distinct) == 2, "a protein of many rows is counted once"
    assert not dense[2].any(), "no protein, no counts"


def test_regression_gives_the_mean_and_a_ridge_that_learns() -> None:
    rng = np.random.default_rng(0)
    strands = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(300)]
    targets = np.array([[strand.count("G") / 3 - 9.0] for strand in strands])
    rows = [_row("MKTW", strand) for strand in strands]
    predictions = trivial_baselines(
        rows[:250],
        targets[:250],
        rows[250:],
        train_groups=[str(i) for i in range(250)],
        kind="regression",
        n_classes=1,
    )
    assert set(predictions) == {"train mean", "ridge 1-3-mers"}
    assert predictions["train mean"] == pytest.approx(np.full((50, 1), targets[:250].mean()))
    error = np.abs(predictions["ridge 1-3-mers"] - targets[250:]).mean()
    assert error < 0.3 * np.abs(predictions["train mean"] - targets[250:]).mean()


def test_classification_gives_scores_of_every_class() -> None:
    rng = np.random.default_rng(0)
    letters = ["AAC", "CCG", "GGT"]
    labels = rng.choice(3, 240, p=[0.5, 0.3, 0.2])
    rows: list[Parts] = [
        (("".join(rng.choice(list("ACGT" + letters[c] * 2), 40)), Molecule.DNA),) for c in labels
    ]
    scores = trivial_baselines(
        rows[:200],
        labels[:200, None].astype(np.float64),
        rows[200:],
        train_groups=[str(i) for i in range(200)],
        kind="classification",
        n_classes=4,
    )
    assert set(scores) == {"majority class", "ridge 1-3-mers", "k-mer logistic regression"}
    assert {values.shape for values in scores.values()} == {(40, 4)}
    assert set(scores["majority class"].argmax(axis=1)) == {0}
    for name in ("ridge 1-3-mers", "k-mer logistic regression"):
        assert (scores[name].argmax(axis=1) == labels[200:]).mean() > 0.8


def test_a_single_group_is_split_by_rows() -> None:
    rows = [_row("MKT", strand) for strand in ("AAAA", "AAAC", "AACC", "ACCC", "CCCC")]
    predictions = trivial_baselines(
        rows,
        np.arange(5.0)[:, None],
        rows[:1],
        train_groups=["MKT"] * 5,
        kind="regression",
        n_classes=1,
    )
    assert predictions["ridge 1-3-mers"][0, 0] < predictions["train mean"][0, 0]


def test_lists_of_different_length_are_refused() -> None:
    rows = [_row("MKT", "ACG")]
    with pytest.raises(ValueError, match="1 rows, 2 targets, 1 groups"):
        trivial_baselines(
            rows, np.zeros((2, 1)), rows, train_groups=["a"], kind="regression", n_classes=1
        )


def _correlations(path: Path, folds: int) -> tuple[list[float], list[float], list[float]]:
    """Per fold of whole proteins: correlation and error of the ridge, error of the mean."""
    rows = read_pronab(path).rows
    groups = [row.group for row in rows]
    targets = np.array([row.target for row in rows])
    fold_of = np.array(assign_folds(groups, folds, seed=0))
    correlation, error, mean_error = [], [], []
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        predictions = trivial_baselines(
            [rows[i].parts for i in train],
            targets[train],
            [rows[i].parts for i in test],
            train_groups=[groups[i] for i in train],
            kind="regression",
            n_classes=1,
        )
        ridge = predictions["ridge 1-3-mers"][:, 0]
        correlation.append(float(np.corrcoef(ridge, targets[test, 0])[0, 1]))
        error.append(float(np.abs(ridge - targets[test, 0]).mean()))
        mean_error.append(float(np.abs(predictions["train mean"] - targets[test]).mean()))
    return correlation, error, mean_error


def test_synthetic_binding_can_be_learnt_from_held_out_proteins(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = draw_binding_data(draw_families(6, rng=rng), proteins=60, rows_per_protein=12, rng=rng)
    write_pronab(tmp_path / "pronab.json", data)
    correlation, error, mean_error = _correlations(tmp_path / "pronab.json", 3)
    assert np.mean(correlation) > 0.2
    assert np.mean(error) < np.mean(mean_error)


@pytest.mark.skipif("BIOTE_DATA" not in os.environ, reason="BIOTE_DATA names no real data")
def test_real_binding_data_give_the_known_figures() -> None:
    path = Path(os.environ["BIOTE_DATA"]) / "pronab" / "pronab_no_mutations.json"
    correlation, error, mean_error = _correlations(path, 10)
    assert np.mean(mean_error) == pytest.approx(1.72, abs=0.02)
    assert np.mean(correlation) == pytest.approx(0.206, abs=0.037)
    assert np.mean(error) == pytest.approx(1.711, abs=0.03)
