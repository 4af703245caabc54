"""Protein FASTA with headers as UniProt writes them."""

from __future__ import annotations

import string
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biote.synthetic.files import write_ascii

_LETTERS: Final = string.ascii_uppercase
_ALPHANUMERICS: Final = string.ascii_uppercase + string.digits


@dataclass(frozen=True, kw_only=True)
class ProteinRecord:
    """One entry of a protein file."""

    accession: str
    name: str
    description: str
    organism: str
    gene: str
    sequence: str
    reviewed: bool = True
    """Whether it is written as of Swiss-Prot (``sp``) or TrEMBL (``tr``)."""


def uniprot_accession(number: int) -> str:
    """Spell a number as an accession of UniProt's six-letter form; all are different.

    Args:
        number: From 0 to below 3,369,600.
    """
    rest = number
    characters = []
    for alphabet in (string.digits, _ALPHANUMERICS, _ALPHANUMERICS, _LETTERS):
        rest, index = divmod(rest, len(alphabet))
        characters.append(alphabet[index])
    assert rest < 10, f"{number} is too large for an accession"
    return f"S{rest}" + "".join(reversed(characters))


def format_entry(record: ProteinRecord) -> str:
    """Write an entry: its header and its sequence in lines of 60.

    Args:
        record: What the entry says.
    """
    header = (
        f">{'sp' if record.reviewed else 'tr'}|{record.accession}|{record.name} "
        f"{record.description} OS={record.organism} OX=32630 GN={record.gene} "
        f"PE={1 if record.reviewed else 4} SV=1"
    )
    return "\n".join([header, *textwrap.wrap(record.sequence, 60)]) + "\n"


def write_fasta(path: Path, records: Iterable[ProteinRecord]) -> None:
    """Write a FASTA file, compressed where its name ends in ``.gz``.

    Args:
        path: File to write; its folder is made if it is not there.
        records: Entries in order.
    """
    write_ascii(path, "".join(format_entry(record) for record in records))
