"""Input files: which there are, what format each has, and the reader for it."""

from __future__ import annotations

import itertools
import logging
import os
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from biote.corpora.blocks import DamagedInputError, OnBlock, read_blocks
from biote.corpora.fasta import FastaBlock, read_block, read_fasta
from biote.corpora.genbank import read_genbank
from biote.corpora.records import BadRecord, Record
from biote.corpora.table import read_table
from biote.errors import DataError
from biote.molecules import Molecule

logger = logging.getLogger(__name__)


class SourceFormat(StrEnum):
    """What a source file is."""

    FASTA = "fasta"
    GENBANK = "genbank"
    PARQUET = "parquet"


_FORMATS: Final = {
    ".fa": SourceFormat.FASTA,
    ".fasta": SourceFormat.FASTA,
    ".faa": SourceFormat.FASTA,
    ".fna": SourceFormat.FASTA,
    ".gb": SourceFormat.GENBANK,
    ".gbk": SourceFormat.GENBANK,
    ".gbff": SourceFormat.GENBANK,
    ".seq": SourceFormat.GENBANK,
    ".genbank": SourceFormat.GENBANK,
    ".parquet": SourceFormat.PARQUET,
}
_GUESS_RECORDS: Final = 1_000
_GUESS_BYTES: Final = 1 << 23  # chromosomes need not be read twice
_GUESS_SHARE: Final = 0.9
_NUCLEIC_LETTERS: Final = b"ACGTUNacgtun"
_NOT_LETTERS: Final = bytes(set(range(256)) - set(string.ascii_letters.encode()))


@dataclass(frozen=True)
class Source:
    """One input file."""

    path: Path
    format: SourceFormat
    bytes: int
    modified_ns: int
    """When it was changed last, as it was listed."""


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """List the input files, sorted by path, each once.

    Args:
        paths: Files, and folders to search to any depth for files of a known format.

    Raises:
        DataError: If a path is not there, a file named has an unknown extension, or no file of
            a known format is found.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            files = _search(path)
        elif not path.exists():
            raise DataError("no such file or folder", where=str(path), mend="check the path")
        elif _format(path) is None:
            raise DataError(
                "unknown extension", where=str(path), mend=f"known: {_known()}, also with .gz"
            )
        elif not path.is_file():
            raise DataError("no regular file", where=str(path), mend="write it to a file first")
        else:
            files = [path]
        for file in sorted(files):
            found.setdefault(file.resolve(), file)
    if not found:
        raise DataError(
            "no input file",
            where=", ".join(str(path) for path in paths),
            mend=f"extensions looked for: {_known()}, also with .gz",
        )
    sources = []
    for file in sorted(found.values(), key=str):
        kind = _format(file)
        assert kind is not None, "only files of a known format are listed"
        status = file.stat()
        sources.append(Source(file, kind, status.st_size, status.st_mtime_ns))
    return sources


def _search(folder: Path) -> list[Path]:
    """Files of a known format in a folder, to any depth, also behind links."""
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add(real)
        for name in names:
            path = Path(root, name)
            if _format(path) is None:
                continue
            if path.is_file():
                found.append(path)
            elif path.is_symlink() and not path.exists():
                raise DataError(
                    "a link that leads nowhere", where=str(path), mend="mend or remove it"
                )
    return found


def read_source(
    source: Source,
    molecule: Molecule | None,
    *,
    scratch: Path | None = None,
    on_block: OnBlock | None = None,
) -> Iterator[Record | BadRecord]:
    """Read a source with the reader for its format.

    Args:
        source: Input file.
        molecule: Molecule type of the records where the format does not say; see
            `guess_molecule`.
        scratch: Folder for what does not fit into memory; None for the system's own.
        on_block: Told every block of the file as it lies on disk; Parquet is not read in blocks.
    """
    if source.format is SourceFormat.GENBANK:
        return read_genbank(source.path, scratch=scratch, on_block=on_block)
    molecule = molecule or guess_molecule(source)
    if source.format is SourceFormat.FASTA:
        return read_fasta(source.path, molecule, scratch=scratch, on_block=on_block)
    return read_table(source.path, molecule)


def guess_molecule(source: Source) -> Molecule:
    """Decide DNA or protein from the letters of a file's first 1,000 records.

    DNA if at least 90 % of the letters are A, C, G, T, U or N, protein otherwise: of a protein
    they are about a quarter, and a record that does not belong is the ledger's affair. No more
    than the first 8 MB are looked at. Without a letter it is DNA.

    Args:
        source: FASTA or Parquet file.
    """
    if source.format is SourceFormat.FASTA:
        records = _first_records(source)
    else:
        records = read_table(source.path, Molecule.DNA)
    total = other = 0
    for record in itertools.islice(records, _GUESS_RECORDS):
        if isinstance(record, Record):
            letters = record.sequence[:_GUESS_BYTES].translate(None, _NOT_LETTERS)
            total += len(letters)
            other += len(letters.translate(None, _NUCLEIC_LETTERS))
        if total >= _GUESS_BYTES:
            break
    return Molecule.DNA if total - other >= _GUESS_SHARE * total else Molecule.PROTEIN


def _first_records(source: Source) -> Iterator[Record | BadRecord]:
    """The records in the first megabytes of a FASTA file, the last of them cut off."""
    text = bytearray()
    try:
        for block in read_blocks(source.path):
            text += block
            if len(text) >= _GUESS_BYTES:
                break
    except DamagedInputError:
        logger.debug("%s is damaged near its beginning.", source.path)
    first = FastaBlock(0, bytes(text), 1, 0, None)
    return read_block(first, Molecule.DNA, source=str(source.path))


def _format(path: Path) -> SourceFormat | None:
    name = path.name.lower().removesuffix(".gz")
    return _FORMATS.get(Path(name).suffix)


def _known() -> str:
    return " ".join(sorted(_FORMATS))
