from __future__ import annotations

import mmap
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import biote.corpora.spool
from biote.corpora.blocks import DamagedInputError
from biote.corpora.flatfile import FlatRecord, cut_records

HEAD = b"LOCUS       X 12 bp DNA\nDEFINITION  //not the end\n            LOCUS in text\nACCESSION X"
RECORD = HEAD + b"\nORIGIN  a line of words\n        1 acgtac gtacgt\n//\n"


def plain(records: list[FlatRecord]) -> list[tuple[int, bytes, bytes | None, str | None]]:
    return [
        (r.line, r.head, None if r.sequence is None else r.sequence[:], r.problem) for r in records
    ]


def cut(text: bytes, size: int = 1 << 20) -> list[tuple[int, bytes, bytes | None, str | None]]:
    return plain(list(cut_records(text[i : i + size] for i in range(0, len(text), size))))


@pytest.mark.parametrize("size", [1, 2, 5, 7, 64, 1000])
def test_head_letters_and_line_whatever_the_blocks(size: int) -> None:
    text = b"a release header\n\n" + RECORD + b"\n\n" + RECORD
    line = 3 + RECORD.count(b"\n") + 2
    assert cut(text, size) == [
        (3, HEAD, b"acgtacgtacgt", None),
        (line, HEAD, b"acgtacgtacgt", None),
    ]


@pytest.mark.parametrize("keep", [5, 30, len(HEAD) - 1, len(HEAD), 1000])
@pytest.mark.parametrize("size", [3, 1000])
def test_the_head_is_cut_where_it_is_said(keep: int, size: int) -> None:
    blocks = [RECORD[i : i + size] for i in range(0, len(RECORD), size)]
    (record,) = cut_records(blocks, head_bytes=keep)
    assert record.head == HEAD[:keep]
    assert record.sequence == b"acgtacgtacgt"


@pytest.mark.parametrize("end", [b"//", b"//\n", b"// \n", b"//\r\n", b"//\tx"])
def test_terminators(end: bytes) -> None:
    ((_, _, letters, problem),) = cut(HEAD + b"\nORIGIN\n1 ac\n" + end)
    assert (letters, problem) == (b"ac", None)


@pytest.mark.parametrize("end", [b"///\n", b"//x\n", b" //\n", b"/\n/\n"])
def test_no_terminators(end: bytes) -> None:
    ((_, _, _, problem),) = cut(HEAD + b"\nORIGIN\n1 ac\n" + end)
    assert problem == "no // at the end of the record"


def test_an_origin_line_is_not_letters_however_long(tmp_path: Path) -> None:
    text = HEAD + b"\nORIGIN " + b"x" * 5000 + b"\n1 ac\n//\n"
    for size in (1, 999, 10_000):
        assert cut(text, size) == [(1, HEAD, b"ac", None)]


def test_long_letters_lie_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biote.corpora.spool, "SPOOL_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    letters = b"acgtn" * 1000
    text = HEAD + b"\nORIGIN\n" + letters + b"\n//\n" + RECORD
    blocks = [text[i : i + 600] for i in range(0, len(text), 600)]
    long, short = cut_records(blocks, scratch=tmp_path)
    assert isinstance(long.sequence, mmap.mmap)
    assert long.sequence[:] == letters
    assert short.sequence == b"acgtacgtacgt"
    assert list(tmp_path.iterdir()) == []


def test_a_long_line_costs_no_memory_and_shifts_no_line() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"LOCUS A\n"
        for _ in range(40):
            yield b"x" * (1 << 20)
        yield b"LOCUS\nLOCUS B\n"

    records = list(cut_records(blocks(), head_bytes=100))
    assert [(r.line, len(r.head)) for r in records] == [(1, 100), (3, 8)]


def test_damage_keeps_what_came_before_and_names_the_line() -> None:
    def blocks(text: bytes) -> Iterator[bytes]:
        yield text
        raise DamagedInputError("truncated gzip")

    assert plain(list(cut_records(blocks(RECORD + HEAD)))) == [
        (1, HEAD, b"acgtacgtacgt", None),
        (1 + RECORD.count(b"\n"), HEAD, None, "truncated gzip"),
    ]
    assert plain(list(cut_records(blocks(RECORD)))) == [
        (1, HEAD, b"acgtacgtacgt", None),
        (1 + RECORD.count(b"\n"), b"", None, "truncated gzip"),
    ]
    assert plain(list(cut_records(blocks(b"")))) == [(1, b"", None, "truncated gzip")]


@pytest.mark.parametrize(
    "piece", [b"x\n//\n", b"LOCUS\n", b"\n", b"L\n", b"//\n", b"LOCUS\nORIGIN\n"]
)
def test_no_input_takes_longer_than_its_length_says(piece: bytes) -> None:
    seconds = []
    for times in (20_000, 200_000):
        began = time.perf_counter()
        cut(piece * times)
        seconds.append(time.perf_counter() - began)
    assert seconds[1] < 40 * seconds[0] + 0.5  # ten times the text


@given(
    parts=st.lists(
        st.sampled_from(
            [
                RECORD,
                HEAD + b"\n",
                b"LOCUS\n",
                b"//\n",
                b"\n",
                b"ORIGIN",
                b"stray",
                b"// x\n",
                b"acgt",
            ]
        ),
        max_size=12,
    ),
    size=st.integers(1, 200),
)
def test_blocks_of_any_size_give_the_same_records(parts: list[bytes], size: int) -> None:
    text = b"".join(parts)
    records = cut(text, size)
    assert records == cut(text)
    lines = text.split(b"\n")
    for line, head, _, _ in records:
        assert lines[line - 1].startswith(b"LOCUS") == bool(head)
        assert lines[line - 1].startswith(head.partition(b"\n")[0])
    # Every record that begins is given, whole or not.
    assert sum(bool(head) for _, head, _, _ in records) == sum(
        line.startswith(b"LOCUS") for line in lines
    )
