from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning import Trainer
from torch import Tensor

from biote.cli import main
from biote.contrastive_batch import Negatives, Side
from biote.datamodules.clip.datamodule import ClipDataModule
from biote.errors import CheckpointError, ConfigError, DataError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads.contrastive import SharedMapHead, TwoMapsHead
from biote.modules.weights import save_encoder
from biote.tasks.clip import ClipTask
from biote.tasks.frozen_states import StatesKey, frozen_states
from biote.tokenization import CharacterTokenizer

_CODON = dict(zip("ACDEFGHIKLMNPQRSTVWY", (
    "GCT TGC GAT GAA TTT GGT CAT ATT AAA CTG ATG AAC CCG CAG CGT TCT ACC GTT TGG TAC"
).split(), strict=True))  # fmt: skip
MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 genes that code for their proteins."""
    rng = np.random.default_rng(0)
    proteins = [
        "M" + "".join(rng.choice(list(_CODON), int(rng.integers(8, 30)), p=p))
        for p in rng.dirichlet(np.full(20, 0.6), 400)
    ]
    genes = ["".join(_CODON[residue] for residue in protein) + "TAA" for protein in proteins]
    n = len(genes)
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    content: dict[str, Any] = {
        "pair_id": [f"p{i}" for i in range(n)],
        "record_id": [f"r{i % 4}" for i in range(n)],
        "organism": [f"species {i % 4}" for i in range(n)],
        "taxonomy_id": [i % 4 for i in range(n)],
        "molecule": ["DNA"] * n,
        "strand": [1] * n,
        "start": [1000 * i for i in range(n)],
        "end": [1000 * i + len(gene) for i, gene in enumerate(genes)],
        "gene_sequence": genes,
        "protein_sequence": proteins,
    }
    pq.write_table(pa.table(content), path)
    return path


def data_of(table: Path, folder: Path, **options: Any) -> ClipDataModule:
    settings: dict[str, Any] = {
        "batch_size": 64, "split": "random", "split_file": folder / "split.parquet",
        "train_fraction": 0.4, "context": 32,
    }  # fmt: skip
    return ClipDataModule(table, "character", **(settings | options))


def task_of(folder: Path, tiny: EncoderConfig, **options: Any) -> ClipTask:
    settings: dict[str, Any] = {
        "head": SharedMapHead, "states_folder": folder / "states", "vocab_size": 49,
    }  # fmt: skip
    return ClipTask(tiny, **(settings | options))


def scores(trainer: Trainer, task: ClipTask, data: ClipDataModule) -> dict[str, float]:
    trainer.fit(task, data)
    trainer.test(task, data, verbose=False)
    return {score.metric: score.value for score in task.scores}


class Planted(ClipTask):
    """States that are one code, or two unrelated ones, of what a pair has in common."""

    same = True

    def _encoder_states(self, data: Any) -> dict[Side, Tensor]:
        generator = torch.Generator().manual_seed(0)
        n = len(data.columns.ids)
        hidden = torch.randn(n, 8, generator=generator)
        # As many directions as states have: more would leave one map room for both codes.
        first = torch.randn(8, 8, generator=generator)
        second = first if self.same else torch.randn(8, 8, generator=generator)
        noise = [0.5 * torch.randn(n, 8, generator=generator) for _ in range(2)]
        return {Side.GENE: hidden @ first + noise[0], Side.PROTEIN: hidden @ second + noise[1]}


class PlantedApart(Planted):
    same = False


def test_a_planted_alignment_is_found_by_the_map_that_can_and_not_among_shuffled_pairs(
    table: Path, tmp_path: Path, tiny: EncoderConfig, make_trainer: MakeTrainer
) -> None:
    def run(kind: type[ClipTask], head: Any, **options: Any) -> float:
        data = data_of(table, tmp_path, epoch_steps=80, **options)
        task = kind(tiny, head=head, states_folder=tmp_path, vocab_size=49)
        trainer = make_trainer(max_steps=80, folder=tmp_path / "run")
        found = scores(trainer, task, data)
        assert found["recall_at_10_gene_to_protein"] <= 1
        return found["auroc_within_genome"]

    assert run(Planted, SharedMapHead) > 0.85
    apart = run(PlantedApart, TwoMapsHead)
    assert apart > 0.85
    # One map cannot turn two unrelated codes of the same thing into one.
    assert run(PlantedApart, SharedMapHead) < apart - 0.1
    assert abs(run(Planted, TwoMapsHead, partners="shuffled") - 0.5) < 0.07


def test_genes_that_code_for_their_proteins_are_found_and_shuffled_ones_are_not(
    table: Path, tmp_path: Path, tiny: EncoderConfig, make_trainer: MakeTrainer
) -> None:
    for partners, low, high in (("true", 0.65, 1.0), ("shuffled", 0.4, 0.6)):
        data = data_of(table, tmp_path, partners=partners, epoch_steps=80)
        task = task_of(tmp_path, tiny, states="composition", head=TwoMapsHead)
        found = scores(make_trainer(max_steps=80, folder=tmp_path / "run"), task, data)
        assert low < found["auroc"] < high


def test_states_are_the_encoders_and_computed_once(table: Path, tmp_path: Path) -> None:
    config = EncoderConfig(width=16, layers=2, heads=2, context=64)
    data = data_of(table, tmp_path, context=16)
    source = data.sequences(Side.GENE)
    encoder = Encoder(config, 49, seed=0)

    def states(pooling: str = "first", weights: str = "a", tokens: int = 200) -> Any:
        key = StatesKey(
            side="gene", weights=weights, sequences=source.fingerprint, pooling=pooling,
            precision="32-true",
        )  # fmt: skip
        return frozen_states(
            source, encoder, key, folder=tmp_path / "states", tokens=tokens,
            device=torch.device("cpu"), context=torch.no_grad, part_sequences=150,
        )  # fmt: skip

    found = states()
    assert found.computed == source.number
    assert states().computed == 0
    assert states(weights="b").computed == source.number
    assert states(pooling="mean").computed == source.number
    # REFERENCE 6, 7: by hand, every window of a gene by itself.
    means = states(pooling="mean").states
    for number in (0, 7, 151):
        firsts, everything = [], []
        for batch in source.windows(number, number + 1, tokens=1):
            with torch.no_grad():
                tokens = encoder(batch)
            firsts.append(tokens[0])
            everything.append(tokens)
        assert found.windows[number] == len(firsts) > 1
        assert torch.allclose(found.states[number], torch.stack(firsts).mean(0), atol=1e-5)
        assert torch.allclose(means[number], torch.cat(everything).mean(0), atol=1e-5)


def test_an_interrupted_computation_goes_on_and_foreign_parts_are_refused(
    table: Path, tmp_path: Path
) -> None:
    data = data_of(table, tmp_path)
    source = data.sequences(Side.PROTEIN)
    encoder = Encoder(EncoderConfig(width=16, layers=1, heads=2, context=64), 49)

    def states(weights: str) -> Any:
        key = StatesKey(
            side="protein", weights=weights, sequences=source.fingerprint, pooling="first",
            precision="32-true",
        )  # fmt: skip
        return frozen_states(
            source, encoder, key, folder=tmp_path / "states", tokens=500,
            device=torch.device("cpu"), context=torch.no_grad, part_sequences=150,
        )  # fmt: skip

    whole = states("a")
    (folder,) = (tmp_path / "states").iterdir()
    parts = sorted(folder.glob("part-*"))
    parts[1].unlink()
    again = states("a")
    assert again.computed == 150
    assert torch.equal(again.states, whole.states)
    states("b")
    other = next(p for p in (tmp_path / "states").iterdir() if p != folder)
    parts[0].replace(other / parts[0].name)
    with pytest.raises(DataError, match="something else"):
        states("b")


def test_another_encoder_is_another_model(
    table: Path, tmp_path: Path, tiny: EncoderConfig, make_trainer: MakeTrainer
) -> None:
    data = data_of(table, tmp_path, epoch_steps=2)
    trainer = make_trainer(max_steps=2, folder=tmp_path / "run")
    task = task_of(tmp_path, tiny)
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    other = task_of(tmp_path, tiny, init_seed=1)
    with pytest.raises(CheckpointError, match="encoder weights"):
        make_trainer().test(other, data, ckpt_path=tmp_path / "one.ckpt", verbose=False)
    assert len(list((tmp_path / "states").iterdir())) == 4


def test_two_random_encoders_of_one_size_are_two(
    table: Path, tmp_path: Path, tiny: EncoderConfig, make_trainer: MakeTrainer
) -> None:
    task = task_of(tmp_path, tiny, protein_encoder=tiny)
    make_trainer(max_steps=1).fit(task, data_of(table, tmp_path))
    genes, proteins = task.encoder_fingerprints
    assert genes.tolist() != proteins.tolist()
    assert genes.any()


def test_unsuitable_choices_are_refused_before_anything_is_computed(
    table: Path, tmp_path: Path, tiny: EncoderConfig, make_trainer: MakeTrainer
) -> None:
    wide = EncoderConfig(width=32, layers=1, heads=2, context=64)
    with pytest.raises(ConfigError, match="TwoMapsHead"):
        task_of(tmp_path, tiny, protein_encoder=wide)
    task_of(tmp_path, tiny, protein_encoder=wide, head=TwoMapsHead)
    trainer = make_trainer(max_steps=2, accumulate_grad_batches=2)
    with pytest.raises(ConfigError, match="cannot be divided"):
        trainer.fit(task_of(tmp_path, tiny), data_of(table, tmp_path))
    assert not (tmp_path / "states").exists()


def test_fit_and_test_give_rows_predictions_and_a_picture(table: Path, tmp_path: Path) -> None:
    config = EncoderConfig(width=16, layers=1, heads=2, context=64)
    tokenizer = CharacterTokenizer()
    folder = tmp_path / "encoder"
    save_encoder(
        folder, encoder=Encoder(config, 49, seed=5), readout=None,
        tokenizer_fingerprint=tokenizer.fingerprint, extra={},
    )  # fmt: skip
    tokenizer.save(folder)
    run = tmp_path / "run"
    options = [
        "--config", "benchmark/clip_quick.yaml", "--model.encoder_checkpoint", str(folder),
        "--data.root", str(table), "--data.split_file", str(tmp_path / "split.parquet"),
        "--data.train_fraction", "0.4", "--data.context", "64", "--trainer.max_steps", "4",
        "--model.states_folder", str(tmp_path / "states"), "--trainer.default_root_dir", str(run),
        "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    assert main(["fit", *options]) == 0
    assert main(["test", *options]) == 0
    results = pl.read_parquet(run / "results.parquet")
    models = {"pre-trained encoder", "random encoder", "composition"}
    assert set(results["model"]) == models
    assert results.group_by("model").len()["len"].n_unique() == 1
    assert set(results.filter(pl.col("model") == "composition")["head"]) == {"TwoMapsHead"}
    predictions = pl.read_parquet(run / "predictions.parquet")
    assert set(predictions["model"]) == models
    for model in models:
        true = predictions.filter((pl.col("model") == model) & (pl.col("output") == 0))
        stored = results.filter((pl.col("model") == model) & (pl.col("metric") == "cosine_true"))
        assert true["row_id"].n_unique() == len(true) == stored["n"][0]
        assert (true["target"] == 1).all()
        assert float(true["prediction"].to_numpy().mean()) == pytest.approx(
            stored["value"][0], abs=1e-5
        )
    # Every prediction names the pair whose protein the gene was compared with.
    genome = {f"p{i}": i % 4 for i in range(400)}
    kinds = ["true", *Negatives]
    for row, output, partner in predictions.select("row_id", "output", "partner").iter_rows():
        if kinds[output] == "true":
            assert partner == row
        elif partner is not None:
            assert partner != row
            assert "genome" not in kinds[output] or genome[partner] == genome[row]
    named = predictions.filter(pl.col("partner").is_not_null())
    assert named["prediction"].is_not_nan().all()
    assert predictions.filter(pl.col("partner").is_null())["prediction"].is_nan().all()
    # An interval stands beside each score.
    for metric in ("auroc", "ranked_above", "recall_at_10_gene_to_protein"):
        for model in models:
            low, value, high = (
                results.filter((pl.col("model") == model) & (pl.col("metric") == metric + end))[
                    "value"
                ].item()
                for end in ("_low", "", "_high")
            )
            assert low <= value <= high
    assert (run / "cosines.png").stat().st_size > 10_000
