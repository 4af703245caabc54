"""A contact patch that stands in the sequence is found, and nothing where labels are shuffled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lightning import Trainer
from sklearn.metrics import roc_auc_score

from biote.datamodules.contacts import ContactsDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import ResidueHead
from biote.modules.mup import FineTuningOptimizer
from biote.synthetic.recognition import best_site, draw_recognition_residues, with_domain
from biote.tasks import ResidueBinaryTask
from biote.tasks.results import ResultsWriter

MakeTrainer = Callable[..., Trainer]
PATCH = 8
NEAR, FAR = 3.0, 20.0


def write_complexes(path: Path, *, shuffled: bool, proteins: int = 120) -> Path:
    """Proteins whose recognition residues touch the site that they spell.

    The same eight kinds of residues make up all the rest of the protein, far from the site, so a
    letter says nothing: only the domain around the patch does.
    """
    rng = np.random.default_rng(0)
    rows = []
    for number in range(proteins):
        code = draw_recognition_residues(rng)
        rest = "M" + "".join(draw_recognition_residues(rng) for _ in range(3))
        protein = with_domain(rest, code, rng=rng)
        start = protein.index("HWCPVCGK") + PATCH
        distance = np.full(len(protein), FAR)
        distance[start : start + PATCH] = NEAR
        if shuffled:
            distance = rng.permutation(distance)
        rows.append(
            {
                "id": f"c{number}",
                "protein": protein,
                "nucleic": [{"sequence": best_site(code), "molecule": "DNA"}],
                "distance": distance.tolist(),
            }
        )
    pl.DataFrame(rows).write_parquet(path)
    return path


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_planted_patch_is_found_and_nothing_among_shuffled_labels(
    shuffled: bool, tmp_path: Path, make_trainer: MakeTrainer
) -> None:
    path = write_complexes(tmp_path / "contacts.parquet", shuffled=shuffled)
    data = ContactsDataModule(
        path, "character", batch_size=16, fold=0, folds=4, validation="none", context=96,
        fold_file=tmp_path / "folds.parquet", thresholds=[8.0],
    )  # fmt: skip
    task = ResidueBinaryTask(
        EncoderConfig(width=32, layers=2, heads=4, context=96),
        head=ResidueHead,
        optimizer=FineTuningOptimizer(lr_head=0.02, lr_embedding=0.02, lr_body=4e-4),
        n_outputs=1,
        vocab_size=data.vocab_size,
    )
    trainer = make_trainer(ResultsWriter(), max_epochs=15)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    scores = {score.metric: score.value for score in task.scores}
    written = pl.read_parquet(tmp_path / "predictions.parquet")
    labels = np.concatenate([row.labels[:, 0] for row in data.residue_rows("test")])
    truth, chances = written["target"].to_numpy(), written["prediction"].to_numpy()
    assert (truth == labels).all()
    assert scores["auroc"] == pytest.approx(roc_auc_score(truth, chances), abs=1e-5)
    # Within the eight kinds of residues of patch and rest, where letters are of no help.
    letters = np.array(list("".join(row.parts[0][0] for row in data.rows("test"))))
    either = np.isin(letters, list("NQDERKTS"))
    found = roc_auc_score(truth[either], chances[either])
    if shuffled:
        assert abs(found - 0.5) < 0.08
    else:
        assert found > 0.9
        assert scores["f1"] > scores["chance_f1"] + 0.2
