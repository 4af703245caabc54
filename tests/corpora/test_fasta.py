from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import biote.corpora.blocks
from biote.corpora.fasta import read_fasta
from biote.corpora.records import BadRecord, Record
from biote.molecules import Molecule


def read(path: Path) -> list[Record | BadRecord]:
    return list(read_fasta(path, Molecule.PROTEIN))


def read_text(folder: Path, text: bytes) -> list[Record | BadRecord]:
    path = folder / "x.fasta"
    path.write_bytes(text)
    return read(path)


def test_records_have_id_sequence_molecule_file_and_line(tmp_path: Path) -> None:
    records = read_text(tmp_path, b"\n>a first > of all\nMKV\nLA\n\n>b\nmw\n")
    source = str(tmp_path / "x.fasta")
    assert records == [
        Record("a", b"MKVLA", Molecule.PROTEIN, source, 2),
        Record("b", b"mw", Molecule.PROTEIN, source, 6),
    ]


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
def test_windows_line_ends(tmp_path: Path, end: bytes) -> None:
    records = read_text(tmp_path, b">a x\r\nMK\r\n\r\nVL\r\n>b\r\nMW" + end)
    assert [(r.id, r.sequence, r.line) for r in records if isinstance(r, Record)] == [
        ("a", b"MKVL", 1),
        ("b", b"MW", 5),
    ]


def test_bad_records_are_listed_and_the_others_kept(tmp_path: Path) -> None:
    text = b"; comment\n>a\nMK\n>empty one\n\n>\nMK\n>b\nMW\n>last"
    records = read_text(tmp_path, text)
    assert [r.id for r in records if isinstance(r, Record)] == ["a", "b"]
    assert [(r.line, r.record, r.reason) for r in records if isinstance(r, BadRecord)] == [
        (1, "", "text before the first record"),
        (4, "empty", "no sequence in the record"),
        (6, "", "no record id"),
        (10, "last", "no sequence in the record"),
    ]


def test_byte_order_mark_does_not_cost_the_first_record(tmp_path: Path) -> None:
    records = read_text(tmp_path, b"\xef\xbb\xbf>a\nMK\n")
    assert [r.id for r in records if isinstance(r, Record)] == ["a"]


def test_no_record(tmp_path: Path) -> None:
    assert read_text(tmp_path, b"") == []
    assert read_text(tmp_path, b"\n \n") == []


def test_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    text = b"".join(
        b">r%d\n%s\n" % (i, bytes(65 + i * j % 20 for j in range(60))) for i in range(5000)
    )
    path = tmp_path / "x.fasta.gz"
    path.write_bytes(gzip.compress(text)[:-2000])
    *whole, last = read(path)
    assert len(whole) > 100
    assert all(isinstance(record, Record) for record in whole)
    assert isinstance(last, BadRecord)
    assert last.reason == "truncated gzip"
    assert last.record in (f"r{len(whole)}", "")  # the header itself may be cut
    assert last.line == 2 * len(whole) + 1


letters = st.text(st.sampled_from("ACDEFGHIKLMNPQRSTVWYacdx*"), min_size=1, max_size=60)


@given(
    sequences=st.lists(letters, min_size=1, max_size=12),
    width=st.integers(1, 30),
    newline=st.sampled_from([b"\n", b"\r\n"]),
    compressed=st.booleans(),
    block=st.integers(2, 80),
)
def test_what_is_written_is_read(
    sequences: list[str], width: int, newline: bytes, compressed: bool, block: int
) -> None:
    lines: list[bytes] = []
    starts = []
    for i, sequence in enumerate(sequences):
        starts.append(len(lines) + 1)
        lines.append(b">id%d >some text" % i)
        lines += [sequence[j : j + width].encode() for j in range(0, len(sequence), width)]
    text = newline.join([*lines, b""])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(biote.corpora.blocks, "BLOCK_BYTES", block)
        path = Path(folder) / "x.fasta"
        path.write_bytes(gzip.compress(text, 1) if compressed else text)
        records = read(path)
    assert [(r.id, r.sequence[:].decode(), r.line) for r in records if isinstance(r, Record)] == [
        (f"id{i}", sequence, start)
        for i, (sequence, start) in enumerate(zip(sequences, starts, strict=True))
    ]
    assert len(records) == len(sequences)


@given(text=st.binary(max_size=300))
def test_any_bytes_end_without_an_error(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.fasta"
        path.write_bytes(text)
        assert len(read(path)) <= text.count(b">") + 1
