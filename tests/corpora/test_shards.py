from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from biote.corpora.manifest import CORPUS_FILE
from biote.corpora.shards import Corpus
from biote.errors import DataError
from biote.molecules import MOLECULES, Molecule
from biote.splits import sequence_digest
from biote.tokenization import CharacterTokenizer, load_tokenizer

MakeCorpus = Callable[..., Corpus]
SEQUENCES = {f"r{i}": "ACGTN"[: 1 + i % 5] * (1 + i % 3) for i in range(40)}


@pytest.fixture
def corpus(make_corpus: MakeCorpus) -> Corpus:
    return make_corpus(SEQUENCES, shard_bytes=500)


def test_units_read_back_over_shards(corpus: Corpus) -> None:
    assert len(corpus.info.shards) > 3
    assert corpus.n_units == len(SEQUENCES)
    units = np.random.default_rng(0).permutation(np.arange(corpus.n_units))
    lengths = corpus.lengths(units)
    for unit, length, digest in zip(units, lengths, corpus.digests(units), strict=True):
        name, sequence = f"r{unit}", SEQUENCES[f"r{unit}"]
        assert corpus.record_id(unit) == name
        assert length == len(sequence)
        assert digest == sequence_digest(sequence.encode())
        tokens = corpus.tokens(unit, 0, length)
        assert corpus.tokenizer.decode(tokens, Molecule.DNA) == sequence
        assert corpus.tokens(unit, 1, length).tolist() == tokens[1:].tolist()
    assert corpus.molecule_codes(units).tolist() == [Molecule.DNA.code] * len(units)
    assert corpus.molecule_codes(units).dtype == np.uint8
    assert corpus.ends_record(units).all()
    assert corpus.lengths(np.empty(0, np.int64)).tolist() == []


def test_tokens_are_a_view_into_the_file_and_no_file_stays_open(corpus: Corpus) -> None:
    tokens = corpus.tokens(0, 0, 1)
    assert not tokens.flags.owndata
    assert not tokens.flags.writeable
    corpus.lengths(np.arange(corpus.n_units))
    held = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [name for name in held if name.endswith(".arrow")]


def test_ends_of_records_and_blocks(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus({"short": "ACGT", "long": "ACGTA" * 210_000})
    units = np.arange(corpus.n_units)
    assert corpus.ends_record(units).tolist() == [True] + [False] * 10 + [True]
    assert corpus.lengths(units).tolist() == [4] + [100_000] * 10 + [50_000]
    assert {corpus.record_id(unit) for unit in range(1, 12)} == {"long"}


@pytest.mark.parametrize("unit", [-1, 40])
def test_numbers_of_no_unit_are_refused(corpus: Corpus, unit: int) -> None:
    with pytest.raises(IndexError):
        corpus.lengths(np.array([0, unit]))
    with pytest.raises(IndexError):
        corpus.record_id(unit)
    with pytest.raises(IndexError):
        corpus.tokens(0, 0, 2)


def test_a_corpus_survives_pickling(corpus: Corpus) -> None:
    corpus.lengths(np.arange(3))
    again = pickle.loads(pickle.dumps(corpus))
    assert len(pickle.dumps(corpus)) < 500
    assert again.fingerprint == corpus.fingerprint
    assert again.lengths(np.arange(3)).tolist() == corpus.lengths(np.arange(3)).tolist()


def test_the_file_is_what_the_format_says(corpus: Corpus) -> None:
    shard = corpus.info.shards[0]
    with pa.OSFile(str(corpus.folder / shard.file)) as stream:
        reader = pa.ipc.open_file(stream)
        assert reader.num_record_batches == 1
        table = reader.read_all()
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        "record_id": "large_string",
        "molecule": "dictionary<values=string, indices=int8, ordered=0>",
        "tokens": "large_list<item: uint16>",
        "start": "uint64",
        "residues": "uint64",
        "ends_record": "bool",
        "digest": "uint64",
    }
    dictionary = table["molecule"].chunk(0).dictionary.to_pylist()
    assert dictionary == [molecule.value for molecule in MOLECULES]
    row = table.slice(2, 1).to_pylist()[0]
    assert row["record_id"] == "r2"
    assert row["tokens"] == CharacterTokenizer().encode_ids("ACGACGACG", Molecule.DNA).tolist()
    assert load_tokenizer(corpus.folder).fingerprint == corpus.info.tokenizer_fingerprint


def test_fingerprint_follows_content_and_split(make_corpus: MakeCorpus) -> None:
    one = make_corpus(SEQUENCES, name="one")
    assert make_corpus(SEQUENCES, name="two").fingerprint == one.fingerprint
    assert make_corpus(SEQUENCES | {"r0": "T"}, name="three").fingerprint != one.fingerprint
    assert make_corpus(SEQUENCES, name="four", fraction=0.5).fingerprint != one.fingerprint


def edit(folder: Path, key: str, value: object) -> None:
    path = folder / CORPUS_FILE
    content = json.loads(path.read_text())
    content["shards"][0][key] = value
    path.write_text(json.dumps(content))


def test_a_folder_that_is_no_corpus_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no corpus\.json there; give a folder made by"):
        Corpus(tmp_path / "elsewhere")
    for text in ("{", "[]", "{}", '{"format_version": 2}'):
        (corpus.folder / CORPUS_FILE).write_text(text)
        with pytest.raises(DataError, match="not a corpus description; prepare"):
            Corpus(corpus.folder)
    (corpus.folder / CORPUS_FILE).write_text('{"format_version": 1}')
    with pytest.raises(DataError, match="format version 1, this biote reads 2"):
        Corpus(corpus.folder)


def test_a_changed_description_is_refused(corpus: Corpus) -> None:
    edit(corpus.folder, "rows", 1)
    with pytest.raises(DataError, match="fingerprint does not fit"):
        Corpus(corpus.folder)


def test_another_tokenizer_is_refused(corpus: Corpus) -> None:
    CharacterTokenizer("released").save(corpus.folder)
    with pytest.raises(DataError, match="tokenizer"):
        Corpus(corpus.folder)


def test_damaged_shards_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    first, second = (corpus.folder / shard.file for shard in corpus.info.shards[:2])
    kept = tmp_path / "kept.arrow"
    shutil.copy(first, kept)
    first.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"00000-000\.arrow: \d+ bytes, corpus\.json says"):
        Corpus(corpus.folder)
    first.write_bytes(bytes(kept.stat().st_size))
    with pytest.raises(DataError, match="not a readable shard"):
        Corpus(corpus.folder).lengths(np.arange(2))
    first.unlink()
    with pytest.raises(DataError, match="shard is missing"):
        Corpus(corpus.folder)
    assert second.exists()


def test_another_shard_of_the_same_size_is_refused(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, *others = corpus.info.shards
    other = next(s for s in others if (s.rows, s.tokens) != (shard.rows, shard.tokens))
    shutil.copy(corpus.folder / other.file, corpus.folder / shard.file)
    monkeypatch.setattr(Corpus, "_check_size", lambda *_: None)
    with pytest.raises(DataError, match=r"rows with .* tokens, corpus\.json says"):
        Corpus(corpus.folder).lengths(np.arange(2))
