from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from biote.corpora.genes import table
from biote.corpora.genes.collect import LEDGER_SUFFIX, SOURCES_KEY, VERSION_KEY, write_pairs
from biote.corpora.ledger import read_ledger
from biote.errors import BioteError, ConfigError, DataError
from biote.version import __version__

WriteRecord = Callable[..., str]


@pytest.fixture
def sources(tmp_path: Path, write_record: WriteRecord) -> Path:
    """A folder of three GenBank files with two pairs each, and one of another format."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        features = ('1..9 /translation="MA"', '10..18 /translation="MC"', "19..21 /pseudo")
        text = write_record("ATGGCTTAAATGTGTTAATTT", *features, name=f"R{name}")
        (folder / f"{name}.gb").write_text(text)
    (folder / "d.fa").write_text(">x\nACGT\n")
    return folder


def test_table_ledger_and_metadata(sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "pairs.parquet"
    told: list[tuple[int, int]] = []
    report = write_pairs([sources], output, progress=lambda *numbers: told.append(numbers))
    read = pq.read_table(output)
    assert read["pair_id"].to_pylist() == [
        f"R{name}.1|{place}|+" for name in "abc" for place in ("0-9", "9-18")
    ]
    assert read["protein_sequence"].to_pylist() == ["MA", "MC"] * 3
    assert read.schema.metadata[VERSION_KEY.encode()].decode() == __version__
    files = [sources / f"{name}.gb" for name in "abc"]
    assert json.loads(read.schema.metadata[SOURCES_KEY.encode()]) == [
        {
            "file": str(file),
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in files
    ]
    assert report.ledger == output.with_name("pairs.parquet" + LEDGER_SUFFIX)
    lines = list(read_ledger(report.ledger))
    assert [(line.source, line.reason) for line in lines] == [
        (str(file), "pseudogene") for file in files
    ]
    assert (report.files, report.counts.records, report.counts.pairs) == (3, 3, 6)
    assert report.counts.coding_features == 9
    assert report.counts.skipped.numbers == {"pseudogene": 3}
    assert report.counts.skipped.first["pseudogene"].source == str(files[0])
    assert told[-1] == (sum(file.stat().st_size for file in files),) * 2
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "pairs.parquet",
        "pairs.parquet.ledger.jsonl",
    ]


def test_the_bytes_do_not_depend_on_the_workers(sources: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        write_pairs([sources], tmp_path / f"{workers}.parquet", workers=workers)
    for suffix in (".parquet", f".parquet{LEDGER_SUFFIX}"):
        assert (tmp_path / f"1{suffix}").read_bytes() == (tmp_path / f"2{suffix}").read_bytes()


def test_the_same_record_in_two_files_keeps_ids_unique(sources: Path, tmp_path: Path) -> None:
    (sources / "b.gb").write_bytes((sources / "a.gb").read_bytes())
    write_pairs([sources / "a.gb", sources / "b.gb"], tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet")["pair_id"].to_pylist() == [
        "Ra.1|0-9|+",
        "Ra.1|9-18|+",
        "Ra.1|0-9|+|2",
        "Ra.1|9-18|+|2",
    ]


def test_row_groups_span_files(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "GROUP_ROWS", 4)
    write_pairs([sources], tmp_path / "x.parquet")
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 2]


def test_what_is_there_is_replaced_only_if_asked(sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.parquet"
    output.write_text("mine")
    with pytest.raises(DataError, match="--overwrite"):
        write_pairs([sources], output)
    assert output.read_text() == "mine"
    write_pairs([sources], output, overwrite=True)
    assert pq.read_table(output).num_rows == 6


def test_without_a_pair_there_is_a_ledger_and_no_table(
    tmp_path: Path, write_record: WriteRecord
) -> None:
    source = tmp_path / "x.gb"
    source.write_text(write_record("ATG", "1..3 /pseudo"))
    output = tmp_path / "x.parquet"
    with pytest.raises(DataError, match=r"no gene with its protein in 1 file.*pseudogene \(1\)"):
        write_pairs([source], output)
    assert not output.exists()
    assert len(list(read_ledger(output.with_name(output.name + LEDGER_SUFFIX)))) == 1
    source.write_text(write_record("ATG"))
    with pytest.raises(DataError, match="in 1 file, 0 coding features; the ledger"):
        write_pairs([source], output)


def test_mistakes(sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.parquet"
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.fa").write_text(">x\nACGT\n")
    (tmp_path / "file").write_text("")
    mistakes: list[tuple[list[Path], Path, int, str]] = [
        ([sources / "d.fa"], output, 1, "d.fa: not a GenBank file"),
        ([tmp_path / "only"], output, 1, "no GenBank file"),
        ([tmp_path / "nowhere"], output, 1, "no such file"),
        ([sources], sources, 1, "is a folder"),
        ([sources], tmp_path / "file" / "x.parquet", 1, "file.*free the way"),
        ([sources], output, 0, "give at least 1"),
    ]
    for given, target, workers, message in mistakes:
        with pytest.raises((DataError, ConfigError), match=message):
            write_pairs(given, target, workers=workers)
        assert not output.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table.PairTable, "add", fail)
    with pytest.raises(BioteError, match="No space left on device; free the way"):
        write_pairs([sources], tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
