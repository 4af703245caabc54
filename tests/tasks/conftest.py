from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lightning import Callback, Trainer

from biote.corpora.prepare import prepare
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.modules.config import EncoderConfig
from biote.tokenization import CharacterTokenizer

RESIDUES = list("ARNDCQEGHILKMFPSTWYV")


@pytest.fixture(scope="session")
def tiny() -> EncoderConfig:
    """Two layers of width 16."""
    return EncoderConfig(width=16, layers=2, heads=2, context=64)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Trainers that run on the CPU and say nothing."""

    def make(*callbacks: Callback, folder: Path = tmp_path, **options: Any) -> Trainer:
        return Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
            callbacks=list(callbacks),
            enable_checkpointing=any("Checkpoint" in type(c).__name__ for c in callbacks),
            **options,
        )

    return make


@pytest.fixture(scope="session")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TableDataModule]:
    """Proteins with strands of DNA; numbers and classes that follow from neither."""
    tables = tmp_path_factory.mktemp("tables")

    def make(
        *,
        train: int = 24,
        validation: int = 8,
        test: int = 10,
        scale: float = 1.0,
        shift: float = 0.0,
        **options: Any,
    ) -> TableDataModule:
        rng = np.random.default_rng(0)
        n = train + validation + test
        path = tables / f"{train}_{validation}_{test}_{scale}_{shift}.csv"
        splits = ["train"] * train + ["validation"] * validation + ["test"] * test
        numbers = rng.normal(-8.0, 2.0, n)
        pl.DataFrame(
            {
                "name": [f"row{i}" for i in range(n)],
                "protein": ["".join(rng.choice(RESIDUES, rng.integers(8, 30))) for _ in range(n)],
                "dna": ["".join(rng.choice(list("ACGT"), 8)) for _ in range(n)],
                "energy": numbers * scale + shift,
                "other": rng.normal(3.0, 0.5, n),
                "kind": rng.choice(["weak", "strong", "none"], n, p=[0.5, 0.3, 0.2]),
                "split": splits,
            }
        ).write_csv(path)
        arguments: dict[str, Any] = {
            "sequences": [
                SequenceColumn(column="protein", molecule="protein"),
                SequenceColumn(column="dna", molecule="DNA"),
            ],
            "labels": ["energy"],
            "kind": "regression",
            "batch_size": 8,
            "unit": "kcal/mol",
            "id_column": "name",
            "split_column": "split",
            "context": 64,
        }
        return TableDataModule(path, "character", **(arguments | options))

    return make


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A corpus of DNA and one of proteins."""
    folder = tmp_path_factory.mktemp("corpora")
    rng = np.random.default_rng(0)
    for name, letters, lengths in (
        ("nucleic", list("ACGT"), rng.integers(5, 120, 60)),
        ("protein", RESIDUES, rng.integers(5, 60, 60)),
    ):
        fasta = folder / f"{name}.fasta"
        fasta.write_text(
            "".join(
                f">{name}{i}\n{''.join(rng.choice(letters, length))}\n"
                for i, length in enumerate(lengths)
            )
        )
        prepare([fasta], folder / name, tokenizer=CharacterTokenizer(), validation_fraction=0.2)
    return [folder / "nucleic", folder / "protein"]


@pytest.fixture
def make_pretraining(corpora: list[Path]) -> Callable[..., PretrainingDataModule]:
    """Both corpora in equal shares, twelve steps of about 250 tokens."""

    def make(*, folders: list[Path] | None = None, **options: Any) -> PretrainingDataModule:
        arguments: dict[str, Any] = {
            "tokens": 3_000,
            "tokens_per_step": 280,
            "validation_tokens": 400,
        }
        sources = [CorpusSource(folder=folder) for folder in folders or corpora]
        return PretrainingDataModule(sources, 48, **(arguments | options))

    return make


@pytest.fixture(scope="session")
def make_maps(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Tables of proteins that wind through a small box, some residues not resolved."""
    tables = tmp_path_factory.mktemp("maps")

    def make(proteins: int, *, least: int = 26, most: int = 40, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(proteins):
            length = int(rng.integers(least, most + 1))
            steps = rng.normal(size=(length, 3))
            places = np.cumsum(steps * 3.8 / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
            places[rng.uniform(size=length) < 0.1] = np.nan
            rows.append(
                {
                    "id": f"P{i}",
                    "sequence": "".join(rng.choice(RESIDUES, length)),
                    "coordinates": places.ravel().astype(np.float32).tolist(),
                }
            )
        path = tables / f"{proteins}_{least}_{most}_{seed}.parquet"
        pl.DataFrame(rows, schema_overrides={"coordinates": pl.List(pl.Float32)}).write_parquet(
            path
        )
        return path

    return make
