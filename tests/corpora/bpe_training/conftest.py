from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biote.corpora.bpe_training.model import train_model
from biote.corpora.bpe_training.pieces import PIECE_CHARACTERS
from biote.molecules import Modality

Sequences = Callable[[Modality, int, int], str]
MOTIFS = {
    Modality.NUCLEIC: ["TATAAT", "GGCC", "ACGTT", "AAAAAA", "CAG", "TTGACA", "GC"],
    Modality.PROTEIN: ["GKT", "HELH", "LLA", "EEK", "DFG", "WYP", "CAAC", "QRN", "SIVM"],
}


def sequence(modality: Modality, length: int, seed: int) -> str:
    words = np.random.default_rng(seed).choice(MOTIFS[modality], length // 2 + 1)
    return "".join(words)[:length]


@pytest.fixture(scope="session")
def make_sequence() -> Sequences:
    """Motifs end to end, of a length and a seed: text without N, X, B, Z, U and O."""
    return sequence


def write_fasta(path: Path, modality: Modality, lengths: list[int]) -> Path:
    records = [f">r{i}\n{sequence(modality, n, i)}\n" for i, n in enumerate(lengths)]
    path.write_text("".join(records))
    return path


@pytest.fixture
def dna(tmp_path: Path) -> Path:
    """21,500 bases in 10 records, one of them of three pieces."""
    return write_fasta(tmp_path / "d.fna", Modality.NUCLEIC, [9_500, 4_000, *[1_000] * 8])


@pytest.fixture
def proteins(tmp_path: Path) -> Path:
    """20,000 residues in 50 records."""
    return write_fasta(tmp_path / "p.faa", Modality.PROTEIN, [400] * 50)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models of both modalities."""
    folder = tmp_path_factory.mktemp("models")
    for modality in Modality:
        sample = [sequence(modality, PIECE_CHARACTERS, seed).encode() for seed in range(5)]
        model = train_model(sample, modality, pieces=200)
        (folder / f"{modality}.model").write_bytes(model)
    return folder
