from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from scipy import stats
from sklearn import metrics as sk

from biote.alignment import NO_TOKEN
from biote.datamodules.contacts import ContactsDataModule
from biote.datamodules.residue_table import ResidueTableDataModule
from biote.datamodules.residues import ResidueDataModule
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.heads import ResidueHead, SequenceHead
from biote.modules.mup import FineTuningOptimizer
from biote.tasks import ResidueBinaryTask, ResidueClassificationTask, ResidueRegressionTask
from biote.tasks.residues import ResidueTask
from biote.tasks.results import ResultsWriter

MakeTrainer = Callable[..., Trainer]
Make = Callable[..., ResidueDataModule]
RESIDUES = list("ARNDCQEGHILKMFPSTWYV")
SCRIPT = Path(__file__).with_name("residue_processes.py")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proteins with labels that follow from their letters, and complexes."""
    folder = tmp_path_factory.mktemp("residues")
    rng = np.random.default_rng(0)
    proteins = ["".join(rng.choice(RESIDUES, rng.integers(6, 40))) for _ in range(30)]
    pl.DataFrame(
        {
            "sequence": proteins,
            "state": [
                "".join("?" if rng.random() < 0.1 else "HEC"[RESIDUES.index(r) % 3] for r in p)
                for p in proteins
            ],
            "value": [[RESIDUES.index(r) * 10.0 + 500 for r in p] for p in proteins],
        }
    ).write_parquet(folder / "table.parquet")
    pl.DataFrame(
        {
            "id": [f"x{i}" for i in range(len(proteins))],
            "protein": proteins,
            "nucleic": [[{"sequence": "ACGT" * 2, "molecule": "DNA"}] for _ in proteins],
            "distance": [
                [float("nan") if rng.random() < 0.1 else 3 + 0.5 * RESIDUES.index(r) for r in p]
                for p in proteins
            ],
        }
    ).write_parquet(folder / "contacts.parquet")
    return folder


@pytest.fixture
def make(files: Path, tmp_path: Path) -> Make:
    """Data of a kind."""

    def make(kind: str, **options: Any) -> ResidueDataModule:
        common: dict[str, Any] = {
            "tokenizer": "character", "batch_size": 8, "fold": 0, "folds": 3, "context": 64,
            "fold_file": tmp_path / f"{kind}.folds",
        }  # fmt: skip
        if kind == "binary":
            return ContactsDataModule(files / "contacts.parquet", **(common | options))
        table: dict[str, Any] = {
            "sequence": "sequence",
            "kind": kind,
            "label": "state" if kind == "classes" else "value",
            "classes": ["H", "E", "C"] if kind == "classes" else None,
        }
        return ResidueTableDataModule(files / "table.parquet", **(table | common | options))

    return make


TASKS: dict[str, type[ResidueTask]] = {
    "classes": ResidueClassificationTask,
    "binary": ResidueBinaryTask,
    "values": ResidueRegressionTask,
}


def task(encoder: EncoderConfig, data: ResidueDataModule, **options: Any) -> ResidueTask:
    arguments: dict[str, Any] = {
        "head": ResidueHead,
        "optimizer": FineTuningOptimizer(lr_head=0.02, lr_embedding=0.02, lr_body=2e-4),
    }
    return TASKS[data.residue_kind](
        encoder, n_outputs=data.n_outputs, vocab_size=data.vocab_size, **(arguments | options)
    )


def expected_scores(kind: str, written: pl.DataFrame) -> dict[str, float]:
    """Scikit-learn's and scipy's metrics of written predictions."""
    outputs = written["output"].n_unique()
    targets = written["target"].to_numpy().reshape(-1, outputs)
    predictions = written["prediction"].to_numpy().reshape(-1, outputs)
    known = ~np.isnan(targets).any(axis=1)
    targets, predictions = targets[known], predictions[known]
    if kind == "classes":
        truth, chosen = targets[:, 0].astype(int), predictions.argmax(1)
        each = sk.f1_score(truth, chosen, average=None, labels=[0, 1, 2])
        return {
            "accuracy": sk.accuracy_score(truth, chosen),
            "f1_macro": sk.f1_score(truth, chosen, average="macro"),
            "f1_weighted": sk.f1_score(truth, chosen, average="weighted"),
            "mcc": sk.matthews_corrcoef(truth, chosen),
        } | {f"f1_{name}": value for name, value in zip("HEC", each, strict=True)}
    if kind == "values":
        return {
            "pcc": stats.pearsonr(targets[:, 0], predictions[:, 0])[0],
            "spearman": stats.spearmanr(targets[:, 0], predictions[:, 0])[0],
            "mae": sk.mean_absolute_error(targets, predictions),
        }
    scores: dict[str, float] = {}
    for column, name in enumerate(("8A", "6A", "4A")):
        truth, score = targets[:, column].astype(int), predictions[:, column]
        share = truth.mean()
        scores |= {
            f"f1_{name}": sk.f1_score(truth, score > 0.5, zero_division=0),
            f"auroc_{name}": sk.roc_auc_score(truth, score),
            f"auprc_{name}": sk.average_precision_score(truth, score),
            f"mcc_{name}": sk.matthews_corrcoef(truth, score > 0.5),
            f"accuracy_{name}": sk.accuracy_score(truth, score > 0.5),
            f"chance_f1_{name}": sk.f1_score(truth, np.ones_like(truth)),
            f"positive_share_{name}": share,
        }
    return scores


@pytest.mark.parametrize("kind", TASKS)
def test_metrics_are_those_of_the_written_residues(
    kind: str, tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make, tmp_path: Path
) -> None:
    # REFERENCE 6, 5.
    data = make(kind)
    model = task(tiny, data)
    trainer = make_trainer(ResultsWriter(), max_epochs=5)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    written = pl.read_parquet(tmp_path / "predictions.parquet")
    residues = written.filter(pl.col("output") == 0)
    assert list(zip(residues["row_id"], residues["position"], strict=True)) == [
        (row.id, i) for row in data.residue_rows("test") for i in range(len(row.labels))
    ]
    labels = np.concatenate([row.labels for row in data.residue_rows("test")])
    targets = written["target"].to_numpy().reshape(len(labels), -1)
    np.testing.assert_allclose(targets[:, : labels.shape[1]], labels, rtol=1e-6)
    results = pl.read_parquet(tmp_path / "results.parquet")
    found = dict(zip(results["metric"], results["value"], strict=True))
    for name, value in expected_scores(kind, written).items():
        assert found[name] == pytest.approx(value, abs=2e-6, rel=1e-5), name
    # A character tokenizer keeps all labels, and nothing was trimmed.
    bounds = {name: v for name, v in found.items() if name.startswith("upper_bound_")}
    assert len(bounds) == {"classes": 1, "binary": 15, "values": 1}[kind]
    assert bounds == pytest.approx(dict.fromkeys(bounds, 1.0))
    assert found.get("best_mae", 0) == 0
    assert found["unscored_residues"] == 0
    scored = results.filter(pl.col("metric") != "unscored_residues")
    assert set(scored["n"]) == {int((~np.isnan(labels).any(axis=1)).sum())}


@pytest.mark.parametrize("kind", TASKS)
def test_labels_that_follow_from_letters_are_learnt(
    kind: str, tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make
) -> None:
    # REFERENCE 6, 13: were labels shifted against tokens, letters would say nothing of them.
    data = make(kind, validation="none")
    model = task(tiny, data)
    trainer = make_trainer(max_epochs=40)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    score = {score.metric: score.value for score in model.scores}
    name = {"classes": "accuracy", "binary": "auroc_6A", "values": "pcc"}[kind]
    assert score[name] > 0.9


@pytest.mark.parametrize("kind", TASKS)
def test_accumulated_micro_batches_are_one_batch(
    kind: str, tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make
) -> None:
    # REFERENCE 6, 6 and 17: rows differ in labelled tokens.
    models = []
    for accumulate in (1, 2):
        data = make(kind)
        model = task(tiny, data, optimizer=FineTuningOptimizer(eps=1e-3))
        trainer = make_trainer(max_epochs=2, accumulate_grad_batches=accumulate)
        trainer.fit(model, datamodule=data)
        models.append(dict(model.named_parameters()))
    for name, parameter in models[0].items():
        torch.testing.assert_close(models[1][name], parameter, rtol=0, atol=1e-6)


def test_the_loss_is_the_mean_over_labelled_tokens_of_the_step(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make
) -> None:
    data = make("binary")
    model = task(tiny, data)
    make_trainer(max_epochs=1).fit(model, datamodule=data)
    for batch in data.train_dataloader():
        assert batch.step_labelled == len(batch.labelled_tokens)
        labels = batch.residue_labels[batch.labelled_residues]
        chances = model(batch)[batch.labelled_residues]
        expected = torch.nn.functional.binary_cross_entropy(chances, labels)
        outputs = model.outputs(batch)[batch.labelled_tokens]
        torch.testing.assert_close(model.losses(outputs, batch.targets).mean(), expected)
        assert set(batch.molecules[batch.labelled_tokens].tolist()) == {14}  # protein alone


@pytest.mark.parametrize("rule", ["classes", "binary", "values"])
def test_byte_pairs_are_scored_on_residues(
    rule: str, real_data: Path, make_trainer: MakeTrainer, make: Make, tmp_path: Path
) -> None:
    # REFERENCE 6, 5.
    encoder = EncoderConfig(width=8, layers=1, heads=1, context=64)
    data = make(rule, tokenizer=str(real_data / "tokenizers" / "mixed_bpe.model"))
    model = task(encoder, data)
    trainer = make_trainer(ResultsWriter(), max_epochs=1)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    written = pl.read_parquet(tmp_path / "predictions.parquet")
    found = {score.metric: score.value for score in model.scores}
    for name, value in expected_scores(rule, written).items():
        assert found[name] == pytest.approx(value, abs=2e-6, rel=1e-5), name
    # The bound: each residue is given the best there is for its token's residues.
    wanted: list[Any] = []
    truth: list[Any] = []
    for row in data.residue_rows("test"):
        tokens = data.tokens_of(row)
        assert len(np.unique(tokens)) < len(tokens)  # tokens of several residues
        labels = row.labels[:, 0]
        for residue, token in enumerate(tokens):
            if np.isnan(labels[residue]):
                continue
            shared = labels[(tokens == token) & ~np.isnan(labels)]
            counts = [(-np.sum(shared == value), value) for value in np.unique(shared)]
            wanted.append(
                {"classes": min(counts)[1], "binary": shared.mean(), "values": shared.mean()}[rule]
            )
            truth.append(labels[residue])
    if rule == "values":
        name, bound = "pcc", float(stats.pearsonr(truth, wanted)[0])
    elif rule == "binary":
        name = "f1_8A"
        bound = max(float(sk.f1_score(truth, np.array(wanted) >= level)) for level in set(wanted))
    else:
        name, bound = "accuracy", float(sk.accuracy_score(truth, wanted))
    assert found[f"upper_bound_{name}"] == pytest.approx(bound, abs=1e-5)
    assert bound < 1


def test_trimmed_proteins_lose_the_labels_of_their_end(make: Make) -> None:
    # REFERENCE 6, 3: the nucleic acid stays whole.
    data = make("binary", context=30)
    trimmed = 0
    for batch in data.test_dataloader():
        assert max(batch.lengths) <= 30
        for number, row_id in enumerate(batch.row_ids):
            row = next(row for row in data.residue_rows("test") if row.id == row_id)
            of_row = batch.residue_rows == number
            kept = int(of_row.sum())
            assert kept == min(len(row.labels), 30 - 2 - 10)
            assert batch.residue_positions[of_row].tolist() == list(range(kept))
            np.testing.assert_array_equal(batch.residue_labels[of_row], row.labels[:kept])
            trimmed += int((~np.isnan(row.labels[kept:, 0])).sum())
            assert (data.tokens_of(row)[kept:] == NO_TOKEN).all()
    assert trimmed > 0
    assert data.unscored_residues("test") == trimmed


@pytest.mark.parametrize("kind", TASKS)
def test_neighbours_in_a_batch_change_no_prediction(
    kind: str, tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make
) -> None:
    # REFERENCE 6, 7 and 8: nothing is padded, and rows do not see each other.
    data, alone = make(kind), make(kind, batch_size=1)
    model = task(tiny, data)
    make_trainer(max_epochs=1).fit(model, datamodule=data)
    model.eval()
    with torch.no_grad():
        together = torch.cat([model(batch) for batch in data.test_dataloader()])
        single = torch.cat([model(batch) for batch in alone.test_dataloader()])
    torch.testing.assert_close(together, single, rtol=1e-4, atol=1e-5)


def test_the_best_contact_model_is_not_the_last_one(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make, tmp_path: Path
) -> None:
    # REFERENCE 6, 5: best weights that were kept by reference are the last ones.
    data = make("binary")
    seen: list[tuple[float, torch.Tensor]] = []

    class Watch(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                score = float(trainer.callback_metrics["val_auroc"])
                seen.append((score, pl_module.head.readout.weight.detach().clone()))

    best = ModelCheckpoint(tmp_path / "best", filename="best", monitor="val_auroc", mode="min")
    make_trainer(Watch(), best, max_epochs=4).fit(task(tiny, data), datamodule=data)
    wanted = min(range(len(seen)), key=lambda i: seen[i][0])  # while training makes it better
    assert wanted != len(seen) - 1
    content = torch.load(tmp_path / "best" / "best.ckpt", weights_only=False)
    stored = content["state_dict"]["head.readout.weight"]
    assert torch.equal(stored, seen[wanted][1])
    assert not torch.equal(stored, seen[-1][1])


def test_labels_of_another_kind_are_refused(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make: Make
) -> None:
    data = make("classes")
    model = ResidueBinaryTask(
        tiny, head=ResidueHead, n_outputs=3, vocab_size=data.tokenizer.vocab_size
    )
    with pytest.raises(ConfigError, match="labels of residues that are classes"):
        make_trainer(max_epochs=1).fit(model, datamodule=data)


def test_a_head_per_group_is_refused(tiny: EncoderConfig, make: Make) -> None:
    with pytest.raises(ConfigError, match=r"needs one prediction per token.*ResidueHead"):
        task(tiny, make("classes"), head=SequenceHead)


def test_two_processes_score_as_one(
    files: Path, tmp_path: Path, run_two: Callable[..., Any]
) -> None:
    run_two(
        [SCRIPT, files, tmp_path / "two"],
        meanwhile=lambda: runpy.run_path(str(SCRIPT))["run_all"](files, tmp_path / "one", world=1),
        timeout_s=200,
    )
    order = ["row_id", "position", "output"]
    for kind in TASKS:
        one, two = (
            pl.read_parquet(tmp_path / name / kind / "results.parquet") for name in ("one", "two")
        )
        assert one["metric"].to_list() == two["metric"].to_list()
        assert one["n"].to_list() == two["n"].to_list()
        np.testing.assert_allclose(two["value"], one["value"], rtol=1e-3, atol=1e-4)
        frames = [
            pl.read_parquet(tmp_path / name / kind / "predictions.parquet").sort(order)
            for name in ("one", "two")
        ]
        assert frames[0].select(order).equals(frames[1].select(order))
        np.testing.assert_allclose(frames[1]["prediction"], frames[0]["prediction"], rtol=1e-3)
