"""Where the letters come from: raw files, or the shards of corpora.

Both give the same pieces of the same records: the canonical spelling, as a corpus of the character
vocabulary holds it, cut every 4,000 letters from the start of the record. Nothing of a long record
is left out: all its pieces are offered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biote.corpora.manifest import CORPUS_FILE, SourceInfo
from biote.corpora.provenance import FileDigest, check_unchanged, source_identity
from biote.corpora.records import BadRecord
from biote.corpora.shards import Corpus
from biote.corpora.sources import Source, SourceFormat, find_sources, guess_molecule, read_source
from biote.corpora.units import make_units
from biote.errors import DataError
from biote.molecules import MOLECULES, Modality, Molecule, canonical_bytes
from biote.tokenization import CharacterTokenizer, Tokenizer

PIECE_CHARACTERS: Final = 4_000
"""Letters of a piece. SentencePiece skips longer texts than it is told to expect without saying
so, and numbers the letters of a text with 16 bits. The blocks a corpus cuts long records into are
a multiple of it."""

Take = Callable[[Modality, bytes], None]
"""Called with every piece in its order."""
Note = Callable[[BadRecord], None]
"""Called with every record that cannot be used."""
Advance = Callable[[int], None]
"""Called with the bytes of input worked through since the last call."""


@dataclass(frozen=True, kw_only=True)
class CorpusSourceInfo:
    """One corpus that letters were taken from."""

    corpus: str
    """Folder."""
    fingerprint: str
    tokenizer_fingerprint: str
    units: int


def find_training_sources(paths: Sequence[Path]) -> tuple[list[Source], list[Corpus]]:
    """Tell raw files from corpora; each once, in the order they are read in.

    Args:
        paths: Files, folders to search for files, and corpus folders.

    Raises:
        DataError: If one is not there or cannot be read, or none holds a file of a known format.
    """
    folders = {path.resolve(): path for path in paths if (path / CORPUS_FILE).is_file()}
    raw = [path for path in paths if path.resolve() not in folders]
    corpora = [Corpus(path) for path in sorted(folders.values(), key=str)]
    return (find_sources(raw) if raw else []), corpora


def source_bytes(sources: Sequence[Source], corpora: Sequence[Corpus]) -> int:
    """Bytes of input there are.

    Args:
        sources: Raw files.
        corpora: Corpora.
    """
    shards = sum(shard.bytes for corpus in corpora for shard in corpus.info.shards)
    return sum(source.bytes for source in sources) + shards


def take_file(
    source: Source,
    molecule: Molecule | None,
    *,
    take: Take,
    note: Note,
    advance: Advance,
    scratch: Path,
) -> SourceInfo:
    """Offer the pieces of all records of a raw file.

    Args:
        source: Input file.
        molecule: Molecule type of the records where the format does not say; without one it is
            decided from the letters.
        take: Given every piece.
        note: Given every record that cannot be used.
        advance: Told how far the reading is.
        scratch: Folder for records that are too large for the memory.

    Raises:
        DataError: If the file changes while it is read.
    """
    identity = source_identity(source)
    digest = FileDigest(source.path)
    guessed = False
    if source.format is SourceFormat.GENBANK:
        molecule = None
    elif molecule is None:
        molecule, guessed = guess_molecule(source), True

    def on_block(block: bytes) -> None:
        digest(block)
        advance(len(block))

    records = bad_records = 0
    for record in read_source(source, molecule, scratch=scratch, on_block=on_block):
        units = record if isinstance(record, BadRecord) else make_units(record, _SPELLING)
        if isinstance(units, BadRecord):
            note(units)
            bad_records += 1
            continue
        records += 1
        for unit in units:
            _cut(unit.letters, unit.molecule.modality, take)
    if not records and not bad_records:
        note(BadRecord(str(source.path), 1, "", "no record in the file"))
        bad_records = 1
    told = digest.bytes
    sha256 = digest.finish()
    advance(digest.bytes - told)
    check_unchanged(source, identity)
    return SourceInfo(
        file=str(source.path),
        format=source.format.value,
        bytes=digest.bytes,
        sha256=sha256,
        molecule=molecule and molecule.value,
        molecule_guessed=guessed,
        records=records,
        bad_records=bad_records,
    )


def take_corpus(corpus: Corpus, *, take: Take, advance: Advance) -> CorpusSourceInfo:
    """Offer the pieces of all units of a corpus, spelt from their tokens.

    Args:
        corpus: The corpus.
        take: Given every piece.
        advance: Told how far the reading is.

    Raises:
        DataError: If a token does not spell letters of its alphabet.
    """
    spelling = _Spelling(corpus.tokenizer)
    for (first, columns), info in zip(corpus.shard_units(), corpus.info.shards, strict=True):
        offsets = columns.offsets.tolist()
        for row, code in enumerate(columns.molecules.tolist()):
            modality = MOLECULES[code].modality
            letters = spelling.letters(
                columns.tokens[offsets[row] : offsets[row + 1]].tolist(), modality
            )
            try:
                canonical = canonical_bytes(letters, modality)
            except DataError as error:
                raise DataError(
                    error.what,
                    where=f"{corpus.folder}: {corpus.record_id(first + row)}",
                    mend="prepare the corpus anew",
                ) from error
            _cut(canonical, modality, take)
        advance(info.bytes)
    return CorpusSourceInfo(
        corpus=str(corpus.folder),
        fingerprint=corpus.fingerprint,
        tokenizer_fingerprint=corpus.tokenizer.fingerprint,
        units=corpus.n_units,
    )


class _Spelling:
    """The letters of every token, looked up once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tables: dict[Modality, list[bytes]] = {}

    def letters(self, ids: list[int], modality: Modality) -> bytes:
        if modality not in self._tables:
            molecule = next(m for m in MOLECULES if m.modality is modality)
            self._tables[modality] = [
                self._tokenizer.decode([i], molecule).encode()
                for i in range(self._tokenizer.vocab_size)
            ]
        return b"".join(map(self._tables[modality].__getitem__, ids))


_SPELLING: Final = CharacterTokenizer()


def _cut(letters: bytes, modality: Modality, take: Take) -> None:
    for start in range(0, len(letters), PIECE_CHARACTERS):
        take(modality, letters[start : start + PIECE_CHARACTERS])
