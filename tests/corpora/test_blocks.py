from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pytest

from biote.corpora.blocks import BLOCK_BYTES, DamagedInputError, read_blocks

TEXT = bytes(random.Random(0).choices(b"ACGT\n>", k=3 * BLOCK_BYTES))


def write(folder: Path, content: bytes) -> Path:
    # The name says nothing: gzip is known by its first bytes.
    path = folder / "input.fasta"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [TEXT, gzip.compress(TEXT, 1), gzip.compress(TEXT[:99], 1) + gzip.compress(TEXT[99:], 1)],
    ids=["plain", "gzip", "two gzip members"],
)
def test_content_is_whole_and_every_byte_of_the_file_is_told(
    tmp_path: Path, content: bytes
) -> None:
    told: list[bytes] = []
    blocks = list(read_blocks(write(tmp_path, content), on_block=told.append))
    assert b"".join(blocks) == TEXT
    assert max(len(block) for block in blocks) <= BLOCK_BYTES
    assert b"".join(told) == content


def test_many_small_members_and_zero_padding(tmp_path: Path) -> None:
    parts = [TEXT[i : i + 1000] for i in range(0, 300_000, 1000)]
    content = b"".join(gzip.compress(part, 1) + b"\0" * 5 for part in parts)
    assert b"".join(read_blocks(write(tmp_path, content))) == TEXT[:300_000]


def test_highly_compressed_input_comes_in_bounded_blocks(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"A" * 20_000_000))
    sizes = [len(block) for block in read_blocks(path)]
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= BLOCK_BYTES


def test_empty_file(tmp_path: Path) -> None:
    assert list(read_blocks(write(tmp_path, b""))) == []


@pytest.mark.parametrize("cut", [3, 1000, -1])
def test_truncated_gzip_yields_what_there_is_and_then_fails(tmp_path: Path, cut: int) -> None:
    blocks = bytearray()
    path = write(tmp_path, gzip.compress(TEXT, 1)[:cut])

    def read_all() -> None:
        for block in read_blocks(path):
            blocks.extend(block)

    with pytest.raises(DamagedInputError, match="truncated gzip"):
        read_all()
    assert TEXT.startswith(bytes(blocks))
    assert len(blocks) > len(TEXT) - 100_000 or cut > 0


@pytest.mark.parametrize("place", ["data", "after the end"])
def test_damaged_gzip_fails(tmp_path: Path, place: str) -> None:
    content = bytearray(gzip.compress(TEXT, 1))
    if place == "data":
        content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    else:
        content += b"no gzip member at all"
    with pytest.raises(DamagedInputError, match="damaged gzip"):
        list(read_blocks(write(tmp_path, bytes(content))))


def test_damage_costs_no_more_than_the_kilobytes_before_it(tmp_path: Path) -> None:
    letters = bytes(random.Random(1).choices(b"ACGT", k=400_000))
    content = bytearray(gzip.compress(letters, 6))
    sound = content[: len(content) // 2]
    content[len(sound) : len(sound) + 50] = b"\xff" * 50
    before = zlib.decompressobj(31).decompress(sound)
    found = bytearray()

    def read_all() -> None:
        for block in read_blocks(write(tmp_path, bytes(content))):
            found.extend(block)

    with pytest.raises(DamagedInputError, match="damaged gzip"):
        read_all()
    assert len(found) > len(before) - 100_000
    assert found[: len(before)] == before[: len(found)]
