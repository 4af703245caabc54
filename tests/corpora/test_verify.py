from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.manifest import ShardInfo, load_info
from biote.corpora.prepare import prepare
from biote.corpora.shard_files import read_batch
from biote.corpora.shards import Corpus
from biote.corpora.verify import Verification, verify
from biote.corpora.windows import Split, open_windows
from biote.corpora.writer import write_shard
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule
from biote.tokenization import BPETokenizer, CharacterTokenizer

SPLITS: tuple[Split, ...] = get_args(Split)
LONG = "ACGTTGCA" * 130_000


def build(folder: Path, **options: Any) -> Path:
    """A corpus of several shards with a long record, bad records and window sidecars."""
    rna, protein = folder / "a.fa", folder / "b.fa"
    rna.write_text("".join(f">r{i}\n{'ACGT'[i % 4] * (i + 1)}\n" for i in range(40)) + ">bad\n\n")
    protein.write_text("".join(f">p{i}\nMEL{'KVWX'[i % 4] * i}\n" for i in range(30)))
    given: dict[str, Any] = {
        "tokenizer": CharacterTokenizer(),
        "validation_fraction": 0.2,
        "shard_bytes": 600,
    }
    prepare([rna, protein], folder / "corpus", **(given | options))
    corpus = Corpus(folder / "corpus")
    for context in (5, 64):
        for split in SPLITS:
            open_windows(corpus, context=context, split=split)
    return corpus.folder


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def corpus(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "corpus"))


def faults(result: Verification) -> list[tuple[str, str]]:
    return [(Path(fault.where).name, fault.what) for fault in result.faults]


def rewrite(
    folder: Path, index: int, edit: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> tuple[ShardInfo, ...]:
    """Write a shard wrongly, and describe it as it is."""
    info = load_info(folder)
    shards = list(info.shards)
    batch = edit(read_batch(folder / shards[index].file))
    shards[index] = write_shard(folder, shards[index].file, batch)
    for path in (folder / "windows").glob("*"):
        path.unlink()
    replace(info, shards=tuple(shards)).save(folder)
    return tuple(shards)


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column)


def with_tokens(batch: pa.RecordBatch, tokens: Any) -> pa.RecordBatch:
    column = batch.column("tokens")
    return with_column(
        batch, "tokens", pa.LargeListArray.from_arrays(column.offsets, pa.array(tokens))
    )


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_corpus_has_no_fault(pristine: Path, deep: bool) -> None:
    seen: list[tuple[int, int]] = []
    result = verify(pristine, deep=deep, progress=lambda done, total: seen.append((done, total)))
    info = load_info(pristine)
    size = sum(shard.bytes for shard in info.shards)
    assert not result.faults
    assert (result.shards, result.units, result.bytes) == (len(info.shards), 70, size)
    assert len(info.shards) > 5
    assert (result.sidecars, result.not_decodable) == (4, 0)
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found(pristine: Path, data: st.DataObject) -> None:
    files = sorted(path for path in pristine.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(changed)
        assert verify(pristine).faults
    finally:
        path.write_bytes(content)


def test_all_faults_are_collected_by_any_number_of_workers(corpus: Path) -> None:
    first, second, third, *_ = load_info(corpus).shards
    (corpus / first.file).unlink()
    with (corpus / second.file).open("ab") as stream:
        stream.write(b"x")
    content = bytearray((corpus / third.file).read_bytes())
    content[-100] ^= 1
    (corpus / third.file).write_bytes(content)
    (corpus / "ledger.jsonl").write_text("")
    found = verify(corpus)
    assert faults(found) == [
        ("ledger.jsonl", "its SHA-256 is not the one in corpus.json"),
        (Path(first.file).name, "is missing"),
        (Path(second.file).name, f"{second.bytes + 1} bytes, corpus.json says {second.bytes}"),
        (Path(third.file).name, "its SHA-256 is not the one in corpus.json"),
    ]
    assert faults(verify(corpus, workers=2)) == faults(found)


def special(batch: pa.RecordBatch) -> pa.RecordBatch:
    tokens = batch.column("tokens").values.to_numpy().copy()
    tokens[:2] = [48, 3]
    return with_tokens(batch, tokens)


def beyond(batch: pa.RecordBatch) -> pa.RecordBatch:
    tokens = batch.column("tokens").values.to_numpy().copy()
    tokens[0] = 49
    return with_tokens(batch, tokens)


def backwards(batch: pa.RecordBatch) -> pa.RecordBatch:
    column = batch.column("tokens")
    offsets = column.offsets.to_numpy().copy()
    offsets[1], offsets[2] = offsets[2], offsets[1]
    return with_column(
        batch, "tokens", pa.LargeListArray.from_arrays(pa.array(offsets), column.values)
    )


def empty_unit(batch: pa.RecordBatch) -> pa.RecordBatch:
    column = batch.column("tokens")
    offsets = column.offsets.to_numpy().copy()
    offsets[1] = 0
    return with_column(
        batch, "tokens", pa.LargeListArray.from_arrays(pa.array(offsets), column.values)
    )


def misplaced(batch: pa.RecordBatch) -> pa.RecordBatch:
    starts = batch.column("start").to_numpy().copy()
    starts[1] = 7
    return with_column(batch, "start", pa.array(starts))


def joined(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The first record goes on in the second."""
    ends = batch.column("ends_record").to_numpy(zero_copy_only=False).copy()
    ends[0] = False
    starts = batch.column("start").to_numpy().copy()
    starts[1] = batch.column("residues")[0].as_py()
    return with_column(with_column(batch, "ends_record", pa.array(ends)), "start", pa.array(starts))


def endless(batch: pa.RecordBatch) -> pa.RecordBatch:
    ends = batch.column("ends_record").to_numpy(zero_copy_only=False).copy()
    ends[-1] = False
    return with_column(batch, "ends_record", pa.array(ends))


def another_type(batch: pa.RecordBatch) -> pa.RecordBatch:
    column = batch.column("molecule")
    codes = np.full(len(column), Molecule.RNA.code, np.int8)
    return with_column(
        batch, "molecule", pa.DictionaryArray.from_arrays(pa.array(codes), column.dictionary)
    )


def another_digest(batch: pa.RecordBatch) -> pa.RecordBatch:
    return with_column(batch, "digest", pa.array(np.zeros(batch.num_rows, np.uint64)))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (special, "2 tokens are special ones"),
        (beyond, "1 token ids are beyond the vocabulary of 49"),
        (backwards, "not valid Arrow data: "),
        (empty_unit, "1 units hold nothing, first row 0 of record r0"),
        (misplaced, "1 units do not go on where the record was, first row 1 of record r1"),
        (joined, "1 units do not go on where the record was, first row 1 of record r1"),
        (endless, "does not go on where the shard before ends"),
        (another_type, "units of DNA, the shards hold"),
        (another_digest, "validation units of DNA, the shards hold"),
        (lambda batch: batch.slice(0, 0).take(pa.array([], pa.int64())), "holds no unit"),
    ],
)
def test_shards_that_were_written_wrongly_are_found(
    corpus: Path, edit: Callable[[pa.RecordBatch], pa.RecordBatch], message: str
) -> None:
    rewrite(corpus, 0, edit)
    assert any(message in what for _, what in faults(verify(corpus)))


def test_a_shard_of_another_corpus_is_found(corpus: Path) -> None:
    stray = corpus / "shards/00009-00000.arrow"
    shutil.copy(next((corpus / "shards").iterdir()), stray)
    assert faults(verify(corpus)) == [
        (stray.name, "no shard of this corpus: corpus.json does not name it")
    ]


def test_the_last_record_must_end(corpus: Path) -> None:
    rewrite(corpus, -1, endless)
    assert faults(verify(corpus))[0][1] == "record p29 has no end"


def test_counts_of_the_sources_must_agree(corpus: Path) -> None:
    info = load_info(corpus)
    first, *rest = info.sources
    replace(info, sources=(replace(first, records=41, bad_records=0), *rest)).save(corpus)
    assert faults(verify(corpus)) == [
        ("ledger.jsonl", "1 lines, corpus.json says 0"),
    ]
    replace(info, sources=(replace(first, records=41), *rest)).save(corpus)
    assert faults(verify(corpus)) == [
        ("corpus.json", "71 records of its sources, of which 70 are held or left out"),
    ]


def test_deep_decodes_every_unit(corpus: Path) -> None:
    def swapped(batch: pa.RecordBatch) -> pa.RecordBatch:
        tokens = batch.column("tokens").values.to_numpy().copy()
        tokens[0] = 5
        return with_tokens(batch, tokens)

    rewrite(corpus, 0, swapped)
    assert not verify(corpus).faults
    name = Path(load_info(corpus).shards[0].file).name
    what = "1 units do not decode to the sequence of their digest, first row 0 of record r0"
    assert faults(verify(corpus, deep=True)) == [(name, what)]


def test_long_records_and_released_spelling_are_sound(tmp_path: Path) -> None:
    fasta = tmp_path / "x.fa"
    fasta.write_text(f">a\n{LONG}\n>b\nACGRYN\n")
    prepare(
        [fasta], tmp_path / "out", tokenizer=CharacterTokenizer("released"), shard_bytes=400_000
    )
    result = verify(tmp_path / "out", deep=True)
    assert not result.faults
    assert result.units == 12
    assert result.shards > 3


def test_unknown_tokens_are_no_fault(real_data: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "x.faa"
    fasta.write_text(">a\nMELVK\n>b\nMELOUKX\n>c\nMJMJM\n")
    tokenizer = BPETokenizer(
        real_data / "tokenizers/nucleotide_bpe.model", real_data / "tokenizers/peptide_bpe.model"
    )
    prepare([fasta], tmp_path / "out", tokenizer=tokenizer, fasta_molecule=Molecule.PROTEIN)
    corpus = Corpus(tmp_path / "out")
    length = int(corpus.lengths(np.array([1]))[0])
    unknown = tokenizer.encode_spelled([b"?"], Molecule.PROTEIN.modality)[0]
    has_unknown = bool(np.isin(corpus.tokens(1, 0, length), unknown).any())
    result = verify(tmp_path / "out", deep=True)
    assert not result.faults
    assert result.not_decodable == int(has_unknown)


@pytest.fixture
def mixture(corpus: Path) -> tuple[Path, dict[Split, Path]]:
    """A corpus with the sidecars of a mixture that holds out a fifth unit more."""
    opened = Corpus(corpus)
    extra = frozenset(int(digest) for digest in opened.digests(np.arange(0, 70, 5)))
    sidecars = {
        split: open_windows(opened, context=7, split=split, extra_validation=extra).path
        for split in SPLITS
    }
    return corpus, sidecars


def test_sidecars_of_a_mixture_are_checked(mixture: tuple[Path, dict[Split, Path]]) -> None:
    corpus, sidecars = mixture
    assert verify(corpus).sidecars == 6
    assert not verify(corpus).faults
    for path in sidecars.values():
        content = path.read_bytes()
        entries = np.frombuffer(content, np.uint64)
        for wrong in (
            entries[1:],
            entries[:-1],
            np.delete(entries, len(entries) // 2),
            np.repeat(entries, 2),
            entries[::-1],
            np.append(entries, np.uint64(70 << 24)),
            np.append(entries, np.uint64(69 << 24 | 500)),
            entries[:0],
        ):
            path.write_bytes(wrong.tobytes())
            assert [name for name, _ in faults(verify(corpus))], wrong
        path.write_bytes(content + b"1234")
        assert faults(verify(corpus))[0][0] == path.name
        path.write_bytes(content)


def test_every_bit_of_a_pair_of_sidecars_is_found(
    mixture: tuple[Path, dict[Split, Path]],
) -> None:
    corpus, sidecars = mixture
    rng = np.random.default_rng(0)
    for path in sidecars.values():
        content = path.read_bytes()
        for position in rng.integers(0, len(content), 20).tolist():
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            assert verify(corpus).faults, (path, position)
        path.write_bytes(content)


def test_a_file_that_is_no_sidecar_is_named(corpus: Path) -> None:
    (corpus / "windows/2-train-0000000000000000.u64").write_bytes(b"")
    assert faults(verify(corpus)) == [
        ("2-train-0000000000000000.u64", "not the name of a window index")
    ]


def test_what_is_no_corpus_is_refused(tmp_path: Path, pristine: Path) -> None:
    with pytest.raises(DataError, match=r"no corpus\.json there"):
        verify(tmp_path)
    with pytest.raises(ConfigError, match="give at least 1"):
        verify(pristine, workers=0)
