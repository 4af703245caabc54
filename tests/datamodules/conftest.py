from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from biote.corpora.prepare import prepare
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Path]
MakeModule = Callable[..., PretrainingDataModule]


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """A corpus of random sequences of the given lengths."""

    def make(name: str, lengths: list[int], *, letters: str = "ACGT", seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        fasta = tmp_path / f"{name}.fasta"
        fasta.write_text(
            "".join(
                f">{name}{i}\n{''.join(rng.choice(list(letters), length))}\n"
                for i, length in enumerate(lengths)
            )
        )
        prepare(
            [fasta],
            tmp_path / name,
            tokenizer=CharacterTokenizer(),
            validation_fraction=0.1,
        )
        return tmp_path / name

    return make


@pytest.fixture
def make_module() -> MakeModule:
    """Pre-training data of some folders as one of several ranks has them."""

    def make(
        folders: list[Path],
        *,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        weights: tuple[float, ...] = (),
        context: int = 32,
        **options: Any,
    ) -> PretrainingDataModule:
        arguments = {"tokens": 5_000, "tokens_per_step": 384, "validation_tokens": 500} | options
        sources = [
            CorpusSource(folder=folder, weight=weight)
            for folder, weight in zip(folders, weights or [1.0] * len(folders), strict=True)
        ]
        data = PretrainingDataModule(sources, context, **arguments)
        trainer: Any = SimpleNamespace(
            global_rank=rank, world_size=world, accumulate_grad_batches=accumulate, global_step=0
        )
        data.trainer = trainer
        return data

    return make
