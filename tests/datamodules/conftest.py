from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biote.corpora.prepare import prepare
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Path]


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
