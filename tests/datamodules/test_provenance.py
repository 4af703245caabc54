from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from biote.corpora.prepare import prepare
from biote.corpora.shards import Corpus
from biote.corpora.windows import open_windows
from biote.datamodules.cursor import Cursor
from biote.datamodules.mixture import Mixture
from biote.datamodules.provenance import window_origins
from biote.datamodules.shares import PartSize, Share
from biote.datamodules.stream import BatchBuilder, TrainingStream
from biote.tokenization import CharacterTokenizer

STEP = 120
TOKENS = 1_500


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Thirty records, a third of them longer than a window."""
    folder = tmp_path_factory.mktemp("provenance")
    rng = np.random.default_rng(0)
    fasta = folder / "dna.fasta"
    sequences = ["".join(rng.choice(list("ACGT"), 4 * n + 5)) for n in range(30)]
    fasta.write_text("".join(f">r{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    prepare([fasta], folder / "corpus", tokenizer=CharacterTokenizer(), validation_fraction=0.0)
    return Corpus(folder / "corpus")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_every_group_of_every_batch_is_found_again(
    corpus: Corpus, world: int, accumulate: int, padded: bool
) -> None:
    mixture = Mixture(
        [corpus], [open_windows(corpus, context=30, split="train")], weights=[1.0], seed=3
    )
    size = PartSize(tokens=STEP // (world * accumulate), longest_group=30) if padded else None
    batches = BatchBuilder([corpus], corpus.tokenizer, 0.15, size=size)
    found = 0
    for rank in range(world):
        share = Share(rank=rank, world=world, accumulate=accumulate)
        before = after = Cursor.start(1)
        stream = TrainingStream(
            mixture, batches, share, cursor=before, tokens_per_step=STEP, tokens=TOKENS
        )
        for number, batch in enumerate(stream):
            if number % accumulate == 0:
                before, after = after, Cursor.from_flat(batch.cursor, corpora=1)
            origins = window_origins(
                batch,
                number % accumulate,
                mixture=mixture,
                corpora=[corpus],
                share=share,
                size=size,
                before=before,
                tokens_per_step=STEP,
            )
            ids = batch.ids.clone()
            ids[batch.masked] = batch.targets
            begin = 0
            for origin, length in zip(origins, batch.lengths, strict=False):
                unit, first, end = (
                    int(origin[name]) for name in ("unit", "first_token", "end_token")
                )
                tokens = corpus.tokens(unit, first, end).tolist()
                assert ids[begin + 1 : begin + 1 + len(tokens)].tolist() == tokens
                assert origin["record"] == corpus.record_id(unit)
                assert origin["corpus"] == str(corpus.folder)
                begin += length
                found += 1
            assert begin == batch.n_tokens - batch.padding_tokens
            wrong = dataclasses.replace(before, step=before.step + 1)
            with pytest.raises(ValueError, match="does not lead to the batch"):
                window_origins(
                    batch,
                    number % accumulate,
                    mixture=mixture,
                    corpora=[corpus],
                    share=share,
                    size=size,
                    before=wrong,
                    tokens_per_step=STEP,
                )
    assert found > 60
