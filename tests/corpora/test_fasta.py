from __future__ import annotations

import gzip
import mmap
import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import biote.corpora.blocks
import biote.corpora.fasta
import biote.corpora.spool
from biote.corpora.fasta import FastaBlock, cut_blocks, read_block, read_fasta
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


def fasta(count: int = 200) -> bytes:
    return b"".join(b">r%d > x\n%s\n" % (i, b"MKV\nLA\n" * (i % 7 + 1)) for i in range(count))


def text_of(block: FastaBlock) -> bytes:
    return block.text.read_bytes() if isinstance(block.text, Path) else block.text


def test_blocks_end_to_end_are_the_file_and_say_where_they_stand(tmp_path: Path) -> None:
    path, text = tmp_path / "x.fasta", b"stray\n" + fasta()
    path.write_bytes(text)
    blocks = list(cut_blocks(path, block_bytes=500))
    assert b"".join(text_of(block) for block in blocks) == text
    assert [block.ordinal for block in blocks] == list(range(len(blocks)))
    assert len(blocks) > 5
    for block in blocks:
        assert text[block.offset :].startswith(text_of(block))
        assert block.line == text.count(b"\n", 0, block.offset) + 1
        assert block.problem is None
        assert text_of(block).startswith(b">") == (block.ordinal > 0)
        assert 500 <= len(text_of(block)) < 600 or block is blocks[-1]
    read = [r for b in blocks for r in read_block(b, Molecule.PROTEIN, source=str(path))]
    assert read == list(read_fasta(path, Molecule.PROTEIN))
    assert len(read) == 201


def test_a_file_of_nothing_has_no_block(tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_bytes(b"")
    assert list(cut_blocks(tmp_path / "x.fa")) == []


@settings(max_examples=300)
@given(
    parts=st.lists(st.sampled_from([b">", b"\n", b">a\n", b"MK\n", b"MK", b">b x>y"]), max_size=30),
    sizes=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    block_bytes=st.integers(0, 40),
    spool_bytes=st.integers(1, 40),
    piece_bytes=st.integers(1, 40),
)
def test_blocks_and_records_do_not_depend_on_how_the_file_is_read(
    parts: list[bytes],
    sizes: tuple[int, int],
    block_bytes: int,
    spool_bytes: int,
    piece_bytes: int,
) -> None:
    text = b"".join(parts)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "x.fasta"
        path.write_bytes(text)
        expected = read(path)
        patch.setattr(biote.corpora.spool, "SPOOL_BYTES", spool_bytes)
        patch.setattr(biote.corpora.fasta, "_PIECE_BYTES", piece_bytes)
        cuts = []
        for size in sizes:
            patch.setattr(biote.corpora.blocks, "BLOCK_BYTES", size)
            blocks = list(cut_blocks(path, block_bytes=block_bytes, scratch=Path(folder)))
            cuts.append([(text_of(b), b.line, b.offset) for b in blocks])
            records = [
                r._replace(sequence=r.sequence[:]) if isinstance(r, Record) else r
                for b in blocks
                for r in read_block(b, Molecule.PROTEIN, source=str(path))
            ]
            assert records == expected
            for block in blocks:
                block.discard()
        assert cuts[0] == cuts[1]
        assert b"".join(content for content, _, _ in cuts[0]) == text
        assert all(content for content, _, _ in cuts[0])
        assert [p.name for p in Path(folder).iterdir()] == ["x.fasta"]


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biote.corpora.spool, "SPOOL_BYTES", 10_000)
    monkeypatch.setattr(biote.corpora.blocks, "BLOCK_BYTES", 3_000)
    monkeypatch.setattr(biote.corpora.fasta, "_PIECE_BYTES", 3_000)


@pytest.mark.parametrize("newline", [b"", b"\n", b"\r\n"])
def test_a_record_longer_than_memory_lies_on_disk(
    small_memory: None, tmp_path: Path, newline: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    path, scratch = tmp_path / "x.fasta.gz", tmp_path / "scratch"
    scratch.mkdir()
    long = b">long one\n" + (b"MKVLA" * 10 + newline) * 1000 + b"\n"
    path.write_bytes(gzip.compress(fasta(3) + long + fasta(2)))
    blocks = list(cut_blocks(path, block_bytes=5_000, scratch=scratch))
    (on_disk,) = (block for block in blocks if isinstance(block.text, Path))
    assert pickle.loads(pickle.dumps(on_disk)) == on_disk
    assert list(scratch.iterdir()) == [on_disk.text]
    records = list(read_block(on_disk, Molecule.PROTEIN, source="x", scratch=scratch))
    sequence = records[3].sequence if isinstance(records[3], Record) else b""
    assert isinstance(sequence, mmap.mmap)
    assert sequence[:] == b"MKVLA" * 10_000
    on_disk.discard()
    assert list(scratch.iterdir()) == []
    records = list(read_fasta(path, Molecule.PROTEIN, scratch=scratch))
    text = fasta(3) + long
    assert [(r.id, r.line) for r in records if isinstance(r, Record)] == [
        *((f"r{i}", fasta(i).count(b"\n") + 1) for i in range(3)),
        ("long", fasta(3).count(b"\n") + 1),
        *((f"r{i}", (text + fasta(i)).count(b"\n") + 1) for i in range(2)),
    ]
    assert list(scratch.iterdir()) == []


def test_text_longer_than_memory_without_a_record_is_one_ledger_line(
    small_memory: None, tmp_path: Path
) -> None:
    (bad,) = read_text(tmp_path, b"x" * 50_000)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "text before the first record"
    (bad,) = read_text(tmp_path, b">" + b"x" * 50_000)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "no sequence in the record"
    assert len(bad.record) <= 500


def test_what_is_not_read_to_its_end_leaves_no_file(small_memory: None, tmp_path: Path) -> None:
    path, scratch = tmp_path / "x.fasta", tmp_path / "scratch"
    scratch.mkdir()
    path.write_bytes(b">a\n" + b"M" * 50_000 + b"\n>b\n" + b"K" * 50_000 + b"\n>c\nMK\n")
    records = read_fasta(path, Molecule.PROTEIN, scratch=scratch)
    next(records)
    assert len(list(scratch.iterdir())) == 1
    del records
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("size", [100, 5_000])
def test_the_last_block_of_a_damaged_file_says_why(tmp_path: Path, size: int) -> None:
    path, text = tmp_path / "x.fasta.gz", fasta(2000)
    path.write_bytes(gzip.compress(text)[:-50])
    *whole, last = cut_blocks(path, block_bytes=size)
    assert all(block.problem is None for block in whole)
    assert last.problem == "truncated gzip"
    *_, bad = read_block(last, Molecule.PROTEIN, source="x")
    assert isinstance(bad, BadRecord)
    assert bad.reason == "truncated gzip"
    read_before = [r for b in whole for r in read_block(b, Molecule.PROTEIN, source="x")]
    assert all(isinstance(r, Record) for r in read_before)
    assert len(read_before) > 1000
