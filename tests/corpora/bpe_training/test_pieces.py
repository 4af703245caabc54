from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from biote.corpora.bpe_training.pieces import (
    PIECE_CHARACTERS,
    find_training_sources,
    source_bytes,
    take_corpus,
    take_file,
)
from biote.corpora.manifest import CorpusInfo, SourceInfo
from biote.corpora.prepare import prepare
from biote.corpora.records import BadRecord
from biote.corpora.units import BLOCK_BASES, LONG_RECORD_BASES
from biote.errors import DataError
from biote.molecules import Modality
from biote.tokenization import BPETokenizer, CharacterTokenizer, Tokenizer

Pieces = list[tuple[Modality, bytes]]


def pieces_of_file(path: Path, scratch: Path) -> tuple[Pieces, list[BadRecord], SourceInfo, int]:
    pieces: Pieces = []
    bad: list[BadRecord] = []
    read: list[int] = []
    ([source], []) = find_training_sources([path])
    info = take_file(
        source,
        None,
        take=lambda modality, piece: pieces.append((modality, piece)),
        note=bad.append,
        advance=read.append,
        scratch=scratch,
    )
    return pieces, bad, info, sum(read)


def pieces_of_corpus(folder: Path) -> tuple[Pieces, int]:
    pieces: Pieces = []
    read: list[int] = []
    ([], [corpus]) = find_training_sources([folder])
    info = take_corpus(corpus, take=lambda m, piece: pieces.append((m, piece)), advance=read.append)
    assert info.fingerprint == corpus.fingerprint
    assert info.units == corpus.n_units
    assert sum(read) == source_bytes([], [corpus])
    return pieces, sum(read)


def test_all_of_a_long_record_is_offered_in_pieces(dna: Path, tmp_path: Path) -> None:
    pieces, bad, info, read = pieces_of_file(dna, tmp_path)
    letters = [line for line in dna.read_text().splitlines() if not line.startswith(">")]
    assert "".join(piece.decode() for _, piece in pieces) == "".join(letters)
    assert [len(piece) for _, piece in pieces] == [4_000, 4_000, 1_500, 4_000, *[1_000] * 8]
    assert {modality for modality, _ in pieces} == {Modality.NUCLEIC}
    assert bad == []
    assert (info.records, info.bad_records, info.molecule) == (10, 0, "DNA")
    assert info.molecule_guessed
    assert read == info.bytes == dna.stat().st_size


def test_letters_are_canonical_and_bad_records_are_noted(tmp_path: Path) -> None:
    nucleic, protein, empty = tmp_path / "n.fa", tmp_path / "p.fa", tmp_path / "e.fa"
    nucleic.write_text(">a\nacguRYn\n>b\nAC-GT\n>c\nACGTTGCAACGT\n")
    protein.write_text(">a\nmelUJo*\n>b\nME*L\n>c\n\n")
    empty.write_text("")
    pieces, bad, info, _ = pieces_of_file(nucleic, tmp_path)
    assert pieces == [(Modality.NUCLEIC, b"ACGTNNN"), (Modality.NUCLEIC, b"ACGTTGCAACGT")]
    assert [(line.record, line.reason) for line in bad] == [("b", "character outside the alphabet")]
    assert (info.records, info.bad_records) == (2, 1)
    pieces, bad, _, _ = pieces_of_file(protein, tmp_path)
    assert pieces == [(Modality.PROTEIN, b"MELUXO")]
    assert [line.record for line in bad] == ["b", "c"]
    pieces, bad, info, _ = pieces_of_file(empty, tmp_path)
    assert pieces == []
    assert [line.reason for line in bad] == ["no record in the file"]
    assert info.bad_records == 1


def write_mixture(folder: Path, make_sequence: Callable[[Modality, int, int], str]) -> list[Path]:
    """Records under and over the length at which a corpus cuts them into blocks."""
    long = make_sequence(Modality.NUCLEIC, LONG_RECORD_BASES + 12_345, 0)
    nucleic, protein = folder / "n.fa", folder / "p.fa"
    nucleic.write_text(f">long\n{long}\n>short\n{'acguRN' * 1_500}\n")
    protein.write_text(">a\n" + make_sequence(Modality.PROTEIN, 9_000, 1) + "\n>b\nMXBZUOJ\n")
    return [nucleic, protein]


@pytest.mark.parametrize("kind", ["character", "bpe"])
def test_a_corpus_gives_the_pieces_of_its_files(
    kind: str,
    tmp_path: Path,
    make_sequence: Callable[[Modality, int, int], str],
    tokenizer_folder: Path,
) -> None:
    assert BLOCK_BASES % PIECE_CHARACTERS == 0
    files = write_mixture(tmp_path, make_sequence)
    tokenizer: Tokenizer = CharacterTokenizer()
    if kind == "bpe":
        tokenizer = BPETokenizer(
            tokenizer_folder / "nucleic.model", tokenizer_folder / "protein.model"
        )
    prepare(files, tmp_path / "corpus", tokenizer=tokenizer)
    expected = [piece for file in files for piece in pieces_of_file(file, tmp_path)[0]]
    assert pieces_of_corpus(tmp_path / "corpus")[0] == expected


def test_files_and_corpora_are_told_apart_and_read_once(dna: Path, tmp_path: Path) -> None:
    prepare([dna], tmp_path / "b/corpus", tokenizer=CharacterTokenizer())
    prepare([dna], tmp_path / "a", tokenizer=CharacterTokenizer())
    again = tmp_path / "b" / ".." / "a"
    files, corpora = find_training_sources([tmp_path / "b/corpus", dna, again, tmp_path / "a", dna])
    assert [source.path for source in files] == [dna]
    assert len(corpora) == 2
    assert isinstance(corpora[0].info, CorpusInfo)
    with pytest.raises(DataError, match="no such file or folder"):
        find_training_sources([tmp_path / "b/corpus", tmp_path / "nowhere"])


def test_a_file_that_changes_while_it_is_read_is_refused(dna: Path, tmp_path: Path) -> None:
    ([source], []) = find_training_sources([dna])

    def touch(_: int) -> None:
        os.utime(dna, ns=(1, 1))

    def read(advance: Callable[[int], None]) -> SourceInfo:
        return take_file(
            source,
            None,
            take=lambda modality, piece: None,
            note=lambda bad: None,
            advance=advance,
            scratch=tmp_path,
        )

    assert read(lambda number: None).records == 10
    with pytest.raises(DataError, match=r"d\.fna: changed while it was read; run again"):
        read(touch)
