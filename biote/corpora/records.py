"""What a reader yields: a record, or a line of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from biote.corpora.spool import Letters
from biote.molecules import Molecule


class Record(NamedTuple):
    """One sequence as its file gives it; a tuple, because there are hundreds of millions."""

    id: str
    sequence: Letters
    """At least one letter, in any case; white space removed."""
    molecule: Molecule
    source: str
    """File the record was read from."""
    line: int
    """Line of the file it begins on, from 1; in a table the row, from 1."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """One line of the ledger: what could not be used, where it stands, and why."""

    source: str
    line: int
    record: str
    """Record id, empty where none could be read."""
    reason: str
    """The kind of fault, in the same words for every record that has it."""
    detail: str = ""
    """What is particular to this record."""
