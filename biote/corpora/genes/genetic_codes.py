"""The genetic codes that ``/transl_table`` numbers.

Source: NCBI, The Genetic Codes (Elzanowski and Ostell).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

BASES: Final = "TCAG"
CODONS: Final = tuple("".join(bases) for bases in product(BASES, repeat=3))
"""All codons, the third base changing fastest."""

STOP: Final = "*"
_STANDARD: Final = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"


@dataclass(frozen=True, slots=True)
class GeneticCode:
    """What codons mean."""

    residues: str
    """Residue of every codon of `CODONS`; ``*`` where it can only end a protein."""
    starts: frozenset[str]
    """Codons that give M as the first of a coding sequence."""
    stops: frozenset[str]
    """Codons that end a protein; in some codes they also stand for a residue."""


def _code(starts: str, changes: str = "", *, also_stops: str = "") -> GeneticCode:
    """Build a code from where it differs from the standard one.

    Args:
        starts: Codons, separated by spaces.
        changes: Such as ``TGA=W``, separated by spaces.
        also_stops: Codons with a residue of their own that can end a protein too.
    """
    residues = dict(zip(CODONS, _STANDARD, strict=True))
    for change in changes.split():
        codon, _, residue = change.partition("=")
        residues[codon] = residue
    stops = {codon for codon, residue in residues.items() if residue == STOP}
    return GeneticCode(
        "".join(residues[codon] for codon in CODONS),
        frozenset(starts.split()),
        frozenset(stops | set(also_stops.split())),
    )


GENETIC_CODES: Final[Mapping[int, GeneticCode]] = {
    1: _code("ATG CTG TTG"),
    2: _code("ATG ATA ATC ATT GTG", "AGA=* AGG=* ATA=M TGA=W"),
    3: _code("ATG ATA GTG", "ATA=M CTA=T CTC=T CTG=T CTT=T TGA=W"),
    4: _code("ATG ATA ATC ATT CTG GTG TTA TTG", "TGA=W"),
    5: _code("ATG ATA ATC ATT GTG TTG", "AGA=S AGG=S ATA=M TGA=W"),
    6: _code("ATG", "TAA=Q TAG=Q"),
    9: _code("ATG GTG", "AAA=N AGA=S AGG=S TGA=W"),
    10: _code("ATG", "TGA=C"),
    11: _code("ATG ATA ATC ATT CTG GTG TTG"),
    12: _code("ATG CTG", "CTG=S"),
    13: _code("ATG ATA GTG TTG", "AGA=G AGG=G ATA=M TGA=W"),
    14: _code("ATG", "AAA=N AGA=S AGG=S TAA=Y TGA=W"),
    15: _code("ATG", "TAG=Q"),
    16: _code("ATG", "TAG=L"),
    21: _code("ATG GTG", "AAA=N AGA=S AGG=S ATA=M TGA=W"),
    22: _code("ATG", "TAG=L TCA=*"),
    23: _code("ATG ATT GTG", "TTA=*"),
    24: _code("ATG CTG GTG TTG", "AGA=S AGG=K TGA=W"),
    25: _code("ATG GTG TTG", "TGA=G"),
    26: _code("ATG CTG", "CTG=A"),
    27: _code("ATG", "TAA=Q TAG=Q TGA=W", also_stops="TGA"),
    28: _code("ATG", "TAA=Q TAG=Q TGA=W", also_stops="TAA TAG TGA"),
    29: _code("ATG", "TAA=Y TAG=Y"),
    30: _code("ATG", "TAA=E TAG=E"),
    31: _code("ATG", "TAA=E TAG=E TGA=W", also_stops="TAA TAG"),
    32: _code("ATG ATA ATC ATT CTG GTG TTG", "TAG=W"),
    33: _code("ATG CTG GTG TTG", "AGA=S AGG=K TAA=Y TGA=W"),
}
