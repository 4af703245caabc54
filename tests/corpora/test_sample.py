from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.prepare import prepare
from biote.corpora.sample import draw_records, write_fasta
from biote.corpora.shards import Corpus
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Corpus]
SEQUENCES = {f"r{i}": "ACGTN"[i % 5] * (1 + i) + "GA" for i in range(80)}


def spelt(corpus: Corpus, n: int, **options: object) -> dict[str, str]:
    """Sequences of the records drawn, by id, read back from FASTA."""
    found = {}
    for record in draw_records(corpus, n, **({"seed": 0} | options)):  # type: ignore[arg-type]
        header, *lines = "".join(write_fasta(corpus, record)).splitlines()
        sequence = "".join(lines)
        assert all(len(line) == 60 for line in lines[:-1])
        assert 0 < len(lines[-1]) <= 60
        assert header == f">{record.id} {record.molecule.value} {len(sequence)}"
        found[record.id] = sequence
    return found


def test_records_are_exact_and_distinct(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES, shard_bytes=500)
    assert spelt(corpus, 80) == SEQUENCES
    assert spelt(corpus, 1000) == SEQUENCES
    some = spelt(corpus, 30, seed=4)
    assert len(some) == 30
    assert list(some) == [name for name in SEQUENCES if name in some]  # in order
    assert some.items() <= SEQUENCES.items()
    assert spelt(corpus, 30, seed=4) == some
    assert spelt(corpus, 30, seed=5) != some


def test_every_record_is_as_likely(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(dict(list(SEQUENCES.items())[:10]), shard_bytes=300)
    drawn: Counter[str] = Counter()
    rounds = 600
    for seed in range(rounds):
        drawn.update(record.id for record in draw_records(corpus, 3, seed=seed))
    assert drawn.total() == 3 * rounds
    # Binomial with p = 0.3: a standard deviation of 11 about 180.
    assert all(120 < drawn[f"r{i}"] < 240 for i in range(10)), drawn


def test_splits_share_out_the_records(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES, shard_bytes=500, fraction=0.3)
    train, validation = (spelt(corpus, 100, split=name) for name in ("train", "validation"))
    assert train | validation == SEQUENCES
    assert not train.keys() & validation.keys()
    assert len(validation) == corpus.info.molecules[Molecule.DNA].validation_units


def test_blocks_of_long_records_are_joined(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    long = "".join(rng.choice(list("ACGT"), 1_234_567))
    (tmp_path / "x.fa").write_text(f">short\nACGT\n>long\n{long}\n>last\nGG\n")
    (tmp_path / "y.fa").write_text(">protein\nMELW\n")
    prepare(
        [tmp_path / "x.fa", tmp_path / "y.fa"],
        tmp_path / "out",
        tokenizer=CharacterTokenizer(),
        validation_fraction=0.3,
        shard_bytes=700_000,
    )
    corpus = Corpus(tmp_path / "out")
    assert len(corpus.info.shards) > 3
    assert spelt(corpus, 9) == {"short": "ACGT", "long": long, "last": "GG", "protein": "MELW"}
    assert spelt(corpus, 9, molecule=Molecule.PROTEIN) == {"protein": "MELW"}
    # Its blocks stand on both sides, so the record is in neither split.
    for split in ("train", "validation"):
        assert "long" not in spelt(corpus, 9, split=split)


def test_memory_does_not_grow_with_the_corpus(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(SEQUENCES)
    [(_, shard)] = corpus.shard_units()

    def peak(shards: int) -> int:
        monkeypatch.setattr(corpus, "shard_units", lambda: ((0, shard) for _ in range(shards)))
        tracemalloc.start()
        try:
            # Every shard is the same one, so only its own units can be spelt out.
            monkeypatch.setattr("biote.corpora.sample._record", lambda corpus, unit: unit)
            assert len(draw_records(corpus, 10, seed=0)) == 10
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(2000) < 2 * peak(20)


@pytest.fixture
def pristine(make_corpus: MakeCorpus) -> Corpus:
    return make_corpus(SEQUENCES)


def test_requests_that_cannot_be_met(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES)
    with pytest.raises(ConfigError, match="give at least 1"):
        draw_records(corpus, 0, seed=0)
    with pytest.raises(ConfigError, match="give 0 or more"):
        draw_records(corpus, 1, seed=-1)
    with pytest.raises(DataError, match="holds no tRNA; it holds DNA"):
        draw_records(corpus, 1, seed=0, molecule=Molecule.TRNA)


@given(data=st.data())
def test_a_damaged_shard_is_no_traceback(pristine: Corpus, data: st.DataObject) -> None:
    [shard] = pristine.info.shards
    path = pristine.folder / shard.file
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(changed)
        corpus = Corpus(pristine.folder)
        for record in draw_records(corpus, 1000, seed=0):
            "".join(write_fasta(corpus, record))
    except DataError:
        pass  # one line; what cannot be told from data may pass
    finally:
        path.write_bytes(content)
