from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

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


def test_the_table_that_is_there_stays_with_its_ledger_if_nothing_is_found(
    sources: Path, tmp_path: Path, write_record: WriteRecord
) -> None:
    output = tmp_path / "x.parquet"
    ledger = output.with_name(output.name + LEDGER_SUFFIX)
    write_pairs([sources], output)
    before = output.read_bytes(), ledger.read_bytes()
    source = tmp_path / "x.gb"
    source.write_text(write_record("ATG", "1..3 /pseudo"))
    with pytest.raises(DataError, match=r"x\.gb:10 R\.1; the table that is there is kept"):
        write_pairs([source], output, overwrite=True)
    assert (output.read_bytes(), ledger.read_bytes()) == before


_KILLED = """
import os, signal, sys
from pathlib import Path
from biote.corpora.genes import collect

source, output, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

replace = Path.replace
def replace_and_die(path, target):
    replace(path, target)
    if target.name.endswith(moment):
        die()
if moment == "reading":
    collect._join = die
else:
    Path.replace = replace_and_die
collect.write_pairs([source], output, overwrite=True)
"""


@pytest.mark.parametrize(
    ("moment", "table", "ledger"),
    [
        ("reading", "old", "old"),
        ("x.parquet.ledger.jsonl", "", "new"),
        ("x.parquet", "new", "new"),
    ],
)
def test_a_killed_run_never_leaves_a_table_beside_the_ledger_of_another(
    sources: Path, tmp_path: Path, moment: str, table: str, ledger: str
) -> None:
    folder = tmp_path / "out"
    output = folder / "x.parquet"
    states = {}
    for state, name in (("old", "a.gb"), ("new", "b.gb")):
        write_pairs([sources / name], output, overwrite=True)
        states[state] = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_pairs([sources / "a.gb"], output, overwrite=True)
    (folder / ".x.parquet.abcd").mkdir()
    arguments = [str(sources / "b.gb"), str(output), moment]
    killed = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False)
    assert killed.returncode == -9
    assert {path.name for path in folder.iterdir()} > {".x.parquet.abcd", ".x.parquet.pairs.lock"}
    for name, state in (("x.parquet", table), ("x.parquet.ledger.jsonl", ledger)):
        path = folder / name
        assert (path.read_bytes() if path.exists() else None) == states.get(state, {}).get(name)
    write_pairs([sources / "b.gb"], output, overwrite=True)
    (folder / ".x.parquet.abcd").rmdir()  # another's
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == states["new"]


def test_one_run_at_a_time_writes_a_table(sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.parquet"
    refused: list[str] = []

    def again(*_: int) -> None:
        with pytest.raises(DataError) as caught:
            write_pairs([sources], output)
        refused.append(str(caught.value))

    report = write_pairs([sources], output, progress=again)
    assert report.counts.pairs == 6
    assert len(refused) == 3
    assert "another process writes x.parquet now" in refused[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_that_changes_while_it_is_read_is_refused(
    sources: Path, tmp_path: Path, workers: int
) -> None:
    """With a pool the last file waits while the first are read."""
    output = tmp_path / "x.parquet"
    for number in range(10):
        (sources / f"{number}.gb").write_bytes((sources / "a.gb").read_bytes())

    def touch(*_: int) -> None:
        os.utime(sources / "c.gb", ns=(1, 1))

    with pytest.raises(DataError, match=r"c\.gb: changed while it was read"):
        write_pairs([sources], output, workers=workers, progress=touch)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_checksum_is_that_of_the_bytes_that_were_read(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources / "a.gb"
    read: list[Path] = []
    path_open = Path.open

    def watch(path: Path, *arguments: Any, **options: Any) -> IO[Any]:
        stream: IO[Any] = path_open(path, *arguments, **options)
        if path == source:
            read.append(path)
        return stream

    text = source.read_bytes()
    source.write_bytes(gzip.compress(text) + b"no gzip" * 10_000)  # read no further than there
    monkeypatch.setattr(Path, "open", watch)
    write_pairs([source], tmp_path / "x.parquet")
    assert len(read) <= 2  # the second time for what the reader had no use for
    metadata = pq.read_schema(tmp_path / "x.parquet").metadata
    assert json.loads(metadata[SOURCES_KEY.encode()])[0]["sha256"] == (
        hashlib.sha256(source.read_bytes()).hexdigest()
    )


def test_mistakes(sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.parquet"
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.fa").write_text(">x\nACGT\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.ledger.jsonl").mkdir()
    mistakes: list[tuple[list[Path], Path, int, str]] = [
        ([sources / "d.fa"], output, 1, "d.fa: not a GenBank file"),
        ([tmp_path / "only"], output, 1, "no GenBank file"),
        ([tmp_path / "nowhere"], output, 1, "no such file"),
        ([sources], sources, 1, "is a folder"),
        ([sources], tmp_path / "taken", 1, r"taken\.ledger\.jsonl: is a folder"),
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
