from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from biote.corpora.prepare import prepare
from biote.corpora.shards import Corpus
from biote.molecules import Molecule
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Corpus]


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Prepare a corpus of the sequences given, by record id, through a FASTA file."""

    def make(
        sequences: Mapping[str, str],
        *,
        name: str = "corpus",
        molecule: Molecule = Molecule.DNA,
        fraction: float = 0.25,
        shard_bytes: int = 1 << 28,
    ) -> Corpus:
        fasta = tmp_path / f"{name}.fasta"
        fasta.write_text("".join(f">{i}\n{s}\n" for i, s in sequences.items()))
        prepare(
            [fasta],
            tmp_path / name,
            tokenizer=CharacterTokenizer(),
            validation_fraction=fraction,
            fasta_molecule=molecule,
            shard_bytes=shard_bytes,
        )
        return Corpus(tmp_path / name)

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data."""
    folder = os.environ.get("BIOTE_DATA")
    if not folder:
        pytest.skip("BIOTE_DATA is not set: no real data")
    return Path(folder)
