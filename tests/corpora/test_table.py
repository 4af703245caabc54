from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import biote.corpora.table
from biote.corpora.records import BadRecord, Record
from biote.corpora.table import read_table
from biote.molecules import Molecule


def write(folder: Path, **columns: list[Any]) -> Path:
    path = folder / "x.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_rows_are_read_over_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path, sequence=["MK", "A B", "mw"], other=[0, 0, 0], id=["a", "b", "c"])
    records = list(read_table(path, Molecule.PROTEIN))
    assert records == [
        Record("a", b"MK", Molecule.PROTEIN, str(path), 1),
        Record("b", b"AB", Molecule.PROTEIN, str(path), 2),
        Record("c", b"mw", Molecule.PROTEIN, str(path), 3),
    ]


def test_empty_cells_are_listed_and_the_others_kept(tmp_path: Path) -> None:
    path = write(tmp_path, id=["a", None, "c", "d", "e"], sequence=["MK", "MK", None, "", "MW"])
    records = list(read_table(path, Molecule.PROTEIN))
    assert [r.id for r in records if isinstance(r, Record)] == ["a", "e"]
    assert [(r.line, r.record, r.reason) for r in records if isinstance(r, BadRecord)] == [
        (2, "", "no record id"),
        (3, "c", "no sequence in the record"),
        (4, "d", "no sequence in the record"),
    ]


def test_numbers_as_ids(tmp_path: Path) -> None:
    (record,) = read_table(write(tmp_path, id=[7], sequence=["MK"]), Molecule.PROTEIN)
    assert isinstance(record, Record)
    assert record.id == "7"


def test_letters_outside_ascii_are_kept_for_the_alphabet_check(tmp_path: Path) -> None:
    (record,) = read_table(write(tmp_path, id=["a"], sequence=["M\u00e9"]), Molecule.PROTEIN)
    assert isinstance(record, Record)
    assert record.sequence == "M\u00e9".encode()


def test_other_columns_and_other_files_are_one_ledger_line(tmp_path: Path) -> None:
    (bad,) = read_table(write(tmp_path, name=["a"], sequence=["MK"]), Molecule.PROTEIN)
    assert isinstance(bad, BadRecord)
    assert (bad.reason, bad.detail) == ("no column", "id")
    path = write(tmp_path, id=["a"] * 5000, sequence=[f"MK{'A' * i}" for i in range(5000)])
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    (bad,) = read_table(path, Molecule.PROTEIN)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "damaged Parquet file"


def test_text_that_is_no_unicode_costs_no_other_row(tmp_path: Path) -> None:
    path = write(tmp_path, id=["aaaa", "b"], sequence=["MK", "MW"])
    content = path.read_bytes()
    broken = pa.array([b"a\xff", b"b"]).view(pa.string())
    pq.write_table(pa.table({"id": broken, "sequence": ["MK", "MW"]}), path)
    assert content != path.read_bytes()
    records = list(read_table(path, Molecule.PROTEIN))
    assert [r.id for r in records if isinstance(r, Record)] == ["a\ufffd", "b"]


def test_a_column_name_that_is_no_unicode_is_one_ledger_line(tmp_path: Path) -> None:
    path = write(tmp_path, id=["a"], sequence=["MK"], other=[1])
    path.write_bytes(path.read_bytes().replace(b"other", b"\xff\xfe\xff\xfe\xff"))
    (bad,) = read_table(path, Molecule.PROTEIN)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "damaged Parquet file"


@pytest.mark.parametrize("dictionary", [False, True])
def test_long_cells_are_read_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    monkeypatch.setattr(biote.corpora.table, "_BATCH_BYTES", 5_000)
    sequences = pa.array([chr(65 + i % 26) * 1000 for i in range(60)])
    path = tmp_path / "x.parquet"
    table = pa.table({"id": list(range(60)), "sequence": sequences})
    if dictionary:
        table = table.set_column(1, "sequence", sequences.dictionary_encode())
    pq.write_table(table, path, compression="none", row_group_size=50)
    sizes: list[int] = []
    cells = biote.corpora.table._cells

    def counted(column: pa.Array) -> list[bytes | None]:
        sizes.append(len(column))
        return cells(column)

    monkeypatch.setattr(biote.corpora.table, "_cells", counted)
    records = list(read_table(path, Molecule.PROTEIN))
    assert [r.sequence for r in records if isinstance(r, Record)] == [
        s.encode() for s in sequences.to_pylist()
    ]
    assert max(sizes) < 20


def test_real_table(real_data: Path) -> None:
    path = real_data / "fasta/uniref90_esm2_train.parquet"
    records = list(read_table(path, Molecule.PROTEIN))
    lengths = [len(r.sequence) for r in records if isinstance(r, Record)]
    assert len(lengths) == len(records) == 10_000
    assert (min(lengths), max(lengths)) == (12, 8_001)
