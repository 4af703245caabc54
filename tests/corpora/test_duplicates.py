from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import biote.corpora.duplicates
from biote.corpora.duplicates import BYTES_PER_RECORD, find_duplicates, without_duplicates
from biote.corpora.manifest import ShardInfo
from biote.corpora.prepare import prepare
from biote.corpora.shard_files import RecordMarks, ShardFiles
from biote.corpora.shards import Corpus, ShardColumns
from biote.corpora.units import Unit
from biote.corpora.writer import ShardWriter
from biote.molecules import Molecule
from biote.splits import sequence_digest
from biote.tokenization import CharacterTokenizer

TOKENIZER = CharacterTokenizer()
SequencesOfUnits = tuple[Molecule, tuple[str, ...]]


def write(
    folder: Path, records: Iterable[SequencesOfUnits], *, shard_bytes: int = 1 << 20
) -> tuple[ShardInfo, ...]:
    """Shards of records, each given by its units."""
    writer = ShardWriter(folder, TOKENIZER, source=0, shard_bytes=shard_bytes)
    for i, (molecule, units) in enumerate(records):
        start = 0
        for n, letters in enumerate(units):
            ends = n == len(units) - 1
            digest = sequence_digest(letters.encode())
            writer.add(Unit(f"r{i}", molecule, letters.encode(), start, ends, digest))
            start += len(letters)
    return writer.close()


def read(folder: Path, shards: Sequence[ShardInfo]) -> list[SequencesOfUnits]:
    """The records in shards."""
    found: list[SequencesOfUnits] = []
    units: list[str] = []
    for info in shards:
        shard = ShardColumns(folder / info.file, info, TOKENIZER.dtype)
        assert hashlib.sha256((folder / info.file).read_bytes()).hexdigest() == info.sha256
        assert len(shard.digests) == len(shard.molecules) == len(shard.offsets) - 1 == info.rows
        for row in range(info.rows):
            molecule = tuple(Molecule)[shard.molecules[row]]
            ids = shard.tokens[shard.offsets[row] : shard.offsets[row + 1]]
            units.append(TOKENIZER.decode(ids.tolist(), molecule))
            assert sequence_digest(units[-1].encode()) == shard.digests[row]
            if shard.ends_bits[row >> 3] >> (row & 7) & 1:
                found.append((molecule, tuple(units)))
                units = []
    assert not units
    return found


def drop(
    folder: Path, shards: Sequence[ShardInfo]
) -> tuple[tuple[ShardInfo, ...], dict[Molecule, Counter[str]]]:
    return without_duplicates(folder, shards, dtype=TOKENIZER.dtype)


RECORDS = st.lists(
    st.tuples(
        st.sampled_from([Molecule.DNA, Molecule.RNA, Molecule.DNA]),
        st.lists(st.sampled_from(["A", "C", "AC", "ACGT"]), min_size=1, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=40,
)


@given(records=RECORDS, shard_bytes=st.integers(2, 600), held=st.sampled_from([1, 4, 1000]))
def test_the_first_of_equal_records_is_left(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[SequencesOfUnits],
    shard_bytes: int,
    held: int,
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    shards = write(folder, records, shard_bytes=shard_bytes)
    assert read(folder, shards) == records
    before = {path: path.read_bytes() for path in folder.rglob("*.arrow")}
    with pytest.MonkeyPatch.context() as patch:
        bound = held * BYTES_PER_RECORD
        patch.setattr(biote.corpora.duplicates, "HELD_BYTES", bound)
        left, dropped = drop(folder, shards)
    assert read(folder, left) == list(dict.fromkeys(records))
    lost = list((Counter(records) - Counter(dict.fromkeys(records, 1))).elements())
    expected: dict[Molecule, Counter[str]] = {}
    for molecule, units in lost:
        letters = sum(map(len, units))
        expected.setdefault(molecule, Counter()).update(
            records=1, units=len(units), residues=letters, tokens=letters
        )
    assert dropped == expected
    # Interrupted here, the work can be done again: what it reads is still there.
    assert {path: path.read_bytes() for path in before} == before
    assert drop(folder, shards) == (left, dropped)


def test_shards_that_lose_nothing_stay_and_empty_ones_go(tmp_path: Path) -> None:
    sequences = ["A" * 40, "C" * 40, "A" * 40, "C" * 40, "G" * 40, "G" * 40]
    records = [(Molecule.DNA, (sequence,)) for sequence in sequences]
    shards = write(tmp_path, records, shard_bytes=200)
    assert [shard.rows for shard in shards] == [2, 2, 2]
    left, _ = drop(tmp_path, shards)
    assert left[0] == shards[0]
    assert [shard.file for shard in left] == [
        "shards/00000-00000-000.arrow",
        "shards/00000-00000-002d.arrow",
    ]
    assert [path.match("shards/[0-9]*-[0-9]*.arrow") for path in tmp_path.rglob("*d.arrow")]


@pytest.mark.parametrize("held", [1, 3, 1 << 20])
def test_colliding_digests_drop_no_distinct_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    def collide(shard: ShardColumns, places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.zeros(len(shard.digests), np.uint64)

    monkeypatch.setattr(biote.corpora.duplicates, "_unit_digests", collide)
    monkeypatch.setattr(biote.corpora.duplicates, "HELD_BYTES", held * BYTES_PER_RECORD)
    records: list[SequencesOfUnits] = [
        (Molecule.DNA, ("A",)),
        (Molecule.DNA, ("C",)),
        (Molecule.RNA, ("A",)),
        (Molecule.DNA, ("A", "A")),
        (Molecule.DNA, ("AA",)),
        (Molecule.DNA, ("C",)),
        (Molecule.DNA, ("A", "A", "C")),
        (Molecule.DNA, ("A",)),
        (Molecule.DNA, ("A", "A")),
    ]
    left, dropped = drop(tmp_path, write(tmp_path, records))
    assert read(tmp_path, left) == list(dict.fromkeys(records))
    assert dropped[Molecule.DNA]["records"] == 3


def test_memory_is_bounded_whatever_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes over ranges of the digests hold no more than the bound, and find the same."""
    distinct = [(Molecule.DNA, (f"{i:b}".replace("0", "A").replace("1", "C"),)) for i in range(999)]
    records = [*distinct, *distinct[::-1], *([distinct[0]] * 500)]
    shards = write(tmp_path, records, shard_bytes=5000)
    files = ShardFiles([(tmp_path / shard.file, shard) for shard in shards], TOKENIZER.dtype)

    def marked(marks: RecordMarks) -> list[bool]:
        return [bool(row) for _, rows in marks.rows(files) for row in rows]

    held: list[int] = []
    passes: list[object] = []
    settle = biote.corpora.duplicates._Distinct.settle
    digests = biote.corpora.duplicates.record_digests

    def watch(self: Any) -> None:
        held.append(len(self._units))
        settle(self)

    def count(files: ShardFiles) -> Any:
        passes.append(None)
        return digests(files)

    monkeypatch.setattr(biote.corpora.duplicates._Distinct, "settle", watch)
    monkeypatch.setattr(biote.corpora.duplicates, "record_digests", count)
    small = marked(find_duplicates(files, held_bytes=400 * BYTES_PER_RECORD))
    assert len(passes) == 13
    assert max(held) == 400
    assert small == marked(find_duplicates(files)) == [False] * 999 + [True] * 1499
    assert len(passes) == 14


def test_preparation_drops_and_counts(tmp_path: Path) -> None:
    fasta = tmp_path / "x.fa"
    long, other = "ACGT" * 260_000, "ACGT" * 259_999 + "ACGA"
    fasta.write_text(f">a\nACGT\n>b\n{long}\n>c\nacgu\n>d\n{other}\n>e\n{long}\n>f\nACGTT\n")
    output = tmp_path / "out"
    options: dict[str, Any] = {"tokenizer": TOKENIZER, "fasta_molecule": Molecule.DNA}
    report = prepare([fasta], output, drop_duplicates=True, **options)
    corpus = Corpus(output)
    counts = report.info.molecules[Molecule.DNA]
    assert (counts.records, counts.units, counts.duplicates) == (4, 24, 2)
    assert counts.residues == counts.tokens == 4 + 2 * len(long) + 5
    assert corpus.n_units == 24
    names = [corpus.record_id(unit) for unit in range(24)]
    assert list(dict.fromkeys(names)) == ["a", "b", "d", "f"]
    assert len(list((output / "shards").iterdir())) == 1  # the shard it was made from is gone
    assert prepare([fasta], tmp_path / "all", **options).info.molecules[Molecule.DNA].records == 6
