from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import biote.corpora.sources
from biote.corpora.blocks import read_blocks
from biote.corpora.sources import (
    Source,
    SourceFormat,
    find_sources,
    guess_molecule,
    read_source,
)
from biote.errors import DataError
from biote.molecules import Molecule


def test_folders_are_searched_and_every_file_listed_once_in_order(tmp_path: Path) -> None:
    for name in ("b/x.FA.gz", "b/c/y.gbff", "a.seq.gz", "z.parquet", "notes.txt", "b/t.fa.bak"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    found = find_sources([tmp_path / "z.parquet", tmp_path, tmp_path / "b/c/y.gbff"])
    assert [str(s.path.relative_to(tmp_path)) for s in found] == [
        "a.seq.gz",
        "b/c/y.gbff",
        "b/x.FA.gz",
        "z.parquet",
    ]
    assert [s.format.value for s in found] == ["genbank", "genbank", "fasta", "parquet"]
    assert {s.bytes for s in found} == {5}


def test_what_cannot_be_an_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(">a\nMK\n")
    with pytest.raises(DataError, match=r"x\.txt: unknown extension; known: .*\.fasta"):
        find_sources([tmp_path / "x.txt"])
    with pytest.raises(DataError, match="no such file"):
        find_sources([tmp_path / "x.fa"])
    with pytest.raises(DataError, match="no input file"):
        find_sources([tmp_path])


@pytest.mark.parametrize(
    ("text", "molecule"),
    [
        (">a\nACGTNacgtnUu--*\n>b\nACGTRYSWKMBDHV\n", Molecule.PROTEIN),
        (">a\nACGTNacgtnUu--*\n>b\nACGTACRY\n", Molecule.DNA),  # 18 of 20
        (">a\nACGTNacgtnUu--*\n>b\nACGTARYE\n", Molecule.PROTEIN),  # 17 of 20
        (">a\nMEL*\n", Molecule.PROTEIN),
        (">a\n" + "ACGT" * 100 + "\n>odd\nACGTE\n", Molecule.DNA),
        (">a\nACGT\n" * 1000 + ">late\n" + "MEL" * 1000, Molecule.DNA),
        (">a\nACGT\n" * 999 + ">late\n" + "MEL" * 1000, Molecule.PROTEIN),
        (">a\n--*\n", Molecule.DNA),
    ],
)
def test_the_letters_decide_dna_or_protein(tmp_path: Path, text: str, molecule: Molecule) -> None:
    path = tmp_path / "x.fa"
    path.write_text(text)
    assert guess_molecule(Source(path, SourceFormat.FASTA, len(text), 0)) is molecule


def test_the_guess_looks_at_the_beginning_of_a_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(path: Path) -> Iterator[bytes]:
        for block in read_blocks(path):
            read.append(len(block))
            yield block

    monkeypatch.setattr(biote.corpora.sources, "read_blocks", counted)
    path = tmp_path / "x.fa"
    path.write_bytes(b">chromosome\n" + b"ACGT" * 5_000_000 + b"\n>late\nMEL\n")
    assert guess_molecule(Source(path, SourceFormat.FASTA, 0, 0)) is Molecule.DNA
    assert sum(read) < 10_000_000
    path.write_bytes(b">protein\n" + b"MEL" * 5_000_000)
    assert guess_molecule(Source(path, SourceFormat.FASTA, 0, 0)) is Molecule.PROTEIN


def test_the_guess_makes_do_with_what_a_truncated_file_has(tmp_path: Path) -> None:
    path = tmp_path / "x.fa.gz"
    path.write_bytes(gzip.compress(b">a\nMEL\n" * 1000)[:-9])
    assert guess_molecule(Source(path, SourceFormat.FASTA, 0, 0)) is Molecule.PROTEIN


@pytest.mark.parametrize("form", [SourceFormat.FASTA, SourceFormat.GENBANK])
def test_every_byte_of_a_file_in_blocks_is_told(tmp_path: Path, form: SourceFormat) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b">a\nMEL\n"))
    told: list[bytes] = []
    list(read_source(Source(path, form, 0, 0), Molecule.PROTEIN, on_block=told.append))
    assert b"".join(told) == path.read_bytes()


def test_folders_behind_links_are_searched_once(tmp_path: Path) -> None:
    for name in ("in", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "z.fa").write_text(">z\nACGT\n")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "in")
    assert [s.path for s in find_sources([tmp_path / "in"])] == [tmp_path / "in/linked/z.fa"]


def test_a_link_that_leads_nowhere_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.fa").symlink_to("gone.fa")
    with pytest.raises(DataError, match=r"broken\.fa: a link that leads nowhere"):
        find_sources([tmp_path])
    os.mkfifo(tmp_path / "pipe.fa")
    with pytest.raises(DataError, match=r"pipe\.fa: no regular file"):
        find_sources([tmp_path / "pipe.fa"])
