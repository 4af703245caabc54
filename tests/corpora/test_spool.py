from __future__ import annotations

import errno
import io
import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import biote.corpora.spool
from biote.corpora.spool import Spool


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biote.corpora.spool, "SPOOL_BYTES", 100)
    monkeypatch.setattr(biote.corpora.spool, "_WRITE_BYTES", 30)


def fill(spool: Spool, pieces: int) -> bytes:
    for i in range(pieces):
        spool.append(b"%09d," % i)
    return b"".join(b"%09d," % i for i in range(pieces))


def test_few_bytes_stay_in_memory(small: None, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "not there")
    content = fill(spool, 10)
    assert len(spool) == 100
    assert spool.finish() == content


def test_a_single_piece_is_not_copied() -> None:
    spool, piece = Spool(), b"acgt" * 1000
    spool.append(piece)
    assert spool.finish() is piece


def test_nothing() -> None:
    assert Spool().finish() == b""
    assert Spool(named=True).finish_text() == b""


def test_many_bytes_are_a_map_of_a_file_without_a_name(small: None, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    content = fill(spool, 11)
    assert list(tmp_path.iterdir()) == []
    content += fill(spool, 50)
    assert len(spool) == 610
    letters = spool.finish()
    assert isinstance(letters, mmap.mmap)
    assert len(letters) == 610
    assert letters[:] == content
    assert letters[95:105] == content[95:105]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError):
        letters[0] = 1  # a map that can be written to would be copied page by page


def test_a_named_file_is_the_callers(small: None, tmp_path: Path) -> None:
    spool = Spool(tmp_path, named=True)
    content = fill(spool, 61)
    assert len(content) - next(tmp_path.iterdir()).stat().st_size <= 40  # the rest is in memory
    path = spool.finish_text()
    assert isinstance(path, Path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == content
    spool.discard()
    assert path.exists()


def test_what_is_discarded_leaves_no_file(small: None, tmp_path: Path) -> None:
    spool = Spool(tmp_path, named=True)
    fill(spool, 61)
    assert len(list(tmp_path.iterdir())) == 1
    spool.discard()
    spool.discard()
    assert list(tmp_path.iterdir()) == []
    assert len(spool) == 0


@pytest.mark.parametrize("named", [False, True])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr(Spool, "_open", lambda self: io.FileIO("/dev/full", "r+b"))
    spool = Spool(tmp_path, named=named)
    with pytest.raises(OSError, match="No space") as caught:
        fill(spool, 11)
    assert caught.value.errno == errno.ENOSPC
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error(small: None, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fill(Spool(tmp_path / "x"), 11)


@given(pieces=st.lists(st.binary(max_size=40), max_size=30), limit=st.integers(0, 300))
def test_content_is_the_pieces_end_to_end(pieces: list[bytes], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biote.corpora.spool, "SPOOL_BYTES", limit)
        patch.setattr(biote.corpora.spool, "_WRITE_BYTES", 16)
        spool = Spool()
        for piece in pieces:
            spool.append(piece)
        content = b"".join(pieces)
        assert len(spool) == len(content)
        letters = spool.finish()
    assert letters[:] == content
    assert isinstance(letters, mmap.mmap) == (len(content) > limit)
