"""Why a coding feature gives no pair of a gene and its protein."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The kinds of coding features that are left out."""

    DAMAGED = "feature not understood"
    PSEUDOGENE = "pseudogene"
    TRANS_SPLICED = "trans-splicing or mixed strands"
    SLIPPAGE = "ribosomal slippage"
    EXCEPTION = "programmed exception"
    NO_TRANSLATION = "no translation"
    REMOTE = "joined across records"
    PARTIAL = "partial feature"
    UNCERTAIN = "uncertain location"
    BEYOND = "positions beyond the sequence"
    DISORDER = "parts out of order"
    FRAMESHIFT = "frameshift"
    GENE_LETTER = "gene with a character outside the alphabet"
    PROTEIN_LETTER = "protein with a character outside the alphabet"
    UNKNOWN_CODE = "unknown genetic code"
    LENGTH = "coding length does not fit the translation"
    DIFFERENT = "translation differs from the coding sequence"
    REPEATED = "same gene span and protein"


@dataclass(frozen=True, slots=True)
class Skip:
    """A coding feature that gives no pair."""

    reason: Reason
    detail: str = ""
    """What is particular to this feature."""
