"""Tokens per second from shards to masked, packed batches, in one process.

Run: python benchmarks/loader.py. The last line is one JSON object.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from biote.corpora.prepare import prepare
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.molecules import STANDARD_RESIDUES
from biote.tokenization import CharacterTokenizer

CONTEXT = 2_048
TOKENS_PER_STEP = 131_072
STEPS = 60


def write_fasta(path: Path, letters: str, *, records: int, mean_length: int, seed: int) -> None:
    """Write random sequences with exponentially distributed lengths."""
    rng = np.random.default_rng(seed)
    lengths = 20 + rng.exponential(mean_length - 20, records).astype(int)
    with path.open("w") as stream:
        for i, length in enumerate(lengths):
            stream.write(f">r{i}\n{''.join(rng.choice(list(letters), length))}\n")


def main() -> None:
    """Prepare two corpora of records of about 300 letters and time the loader over them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = []
        for corpus, letters in (("nucleic", "ACGT"), ("protein", STANDARD_RESIDUES)):
            fasta = folder / f"{corpus}.fasta"
            write_fasta(fasta, letters, records=20_000, mean_length=300, seed=len(corpus))
            prepare([fasta], folder / corpus, tokenizer=CharacterTokenizer())
            sources.append(CorpusSource(folder=folder / corpus))
        data = PretrainingDataModule(
            sources, CONTEXT, tokens=STEPS * TOKENS_PER_STEP, tokens_per_step=TOKENS_PER_STEP
        )
        batches = iter(data.train_dataloader())
        next(batches)  # builds the sidecars and opens the shards
        tokens = padding = 0
        began = time.perf_counter()
        for batch in batches:
            tokens += batch.n_tokens
            padding += batch.padding_tokens
        seconds = time.perf_counter() - began
    print(f"{tokens:,} tokens in {seconds:.2f} s")
    print(json.dumps({"tokens_per_s": tokens / seconds, "padding_fraction": padding / tokens}))


if __name__ == "__main__":
    main()
