from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biote.corpora.genes import table as module
from biote.corpora.genes.pairs import Pair
from biote.corpora.genes.table import PAIR_SCHEMA, PairTable, to_batches

PAIR = Pair(
    pair_id="R.1|t|0-9|+",
    record_id="R.1",
    record_length=50,
    gene=None,
    locus_tag="t",
    protein_id=None,
    organism="Zea mays",
    taxonomy_id=4577,
    molecule="DNA",
    strand=1,
    start=0,
    end=9,
    exons=1,
    coding_length=9,
    gene_sequence="ATGGCTTAA",
    protein_sequence="MA",
    source="x.gb",
)


def pairs(number: int) -> list[Pair]:
    return [
        replace(PAIR, pair_id=f"p{n}", gene_sequence="ACG" * (n % 7), start=n)
        for n in range(number)
    ]


def write(path: Path, batches: list[pa.RecordBatch]) -> Path:
    with PairTable(path, {"key": "value"}) as table:
        for batch in batches:
            table.add(batch)
    return path


def test_rows_come_back(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", list(to_batches([PAIR])))
    read = pq.read_table(path)
    assert read.schema.equals(PAIR_SCHEMA)
    assert read.schema.metadata == {b"key": b"value"}
    assert read.to_pylist() == [{name: getattr(PAIR, name) for name in PAIR_SCHEMA.names}]
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [])
    assert pq.read_table(path).schema.equals(PAIR_SCHEMA)


def test_row_groups_are_bounded_and_do_not_depend_on_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 200)
    monkeypatch.setattr(module, "GROUP_ROWS", 30)
    rows = pairs(500)
    (whole,) = to_batches(rows)
    once = write(tmp_path / "a.parquet", [whole])
    pieces = [whole.slice(at, 3) for at in range(0, 500, 3)]
    assert write(tmp_path / "b.parquet", pieces).read_bytes() == once.read_bytes()
    file = pq.ParquetFile(once)
    assert file.num_row_groups > 10
    for group in range(file.num_row_groups):
        part = file.read_row_group(group)
        letters = sum(len(gene) for gene in part["gene_sequence"].to_pylist())
        assert letters + 2 * part.num_rows < 200 + 18 + 2
        assert part.num_rows <= 30
    assert file.read()["pair_id"].to_pylist() == [row.pair_id for row in rows]


def test_pages_do_not_depend_on_batches(tmp_path: Path) -> None:
    """Parquet ends a page at a size, which it looks at after every chunk it is given."""
    draw = random.Random(0).choices
    rows = [
        replace(PAIR, pair_id=f"p{n}", gene_sequence="".join(draw("ACGT", k=1_000)))
        for n in range(3_000)
    ]
    whole = pa.Table.from_batches(to_batches(rows)).combine_chunks().to_batches()
    pieces = [whole[0].slice(at, 700) for at in range(0, 3_000, 700)]
    once = write(tmp_path / "a.parquet", whole)
    assert write(tmp_path / "b.parquet", pieces).read_bytes() == once.read_bytes()
    assert pq.ParquetFile(once).num_row_groups == 1


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 100)
    rows = pairs(100)
    batches = list(to_batches(iter(rows)))
    assert [n for batch in batches for n in batch["start"].to_pylist()] == list(range(100))
    assert max(batch.num_rows for batch in batches) < 20


def test_ids_are_unique(tmp_path: Path) -> None:
    batches = [batch for _ in range(3) for batch in to_batches([PAIR, PAIR])]
    path = write(tmp_path / "x.parquet", batches)
    ids = pq.read_table(path)["pair_id"].to_pylist()
    assert ids == [PAIR.pair_id, *(f"{PAIR.pair_id}|{n}" for n in range(2, 7))]
