"""How much synthetic data there is to each size; light enough to import for a help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Size = Literal["tiny", "small", "demo"]


@dataclass(frozen=True, kw_only=True)
class SizePlan:
    """Amounts of one size."""

    families: int
    """Protein families; fewer are learnt sooner."""

    contigs: int
    """Contigs of each genome."""

    contig_nucleotides: int
    """Least length of a contig; its last gene may make it longer."""

    transcripts: int
    """mRNA records."""

    records_per_molecule: int
    """Records of each of the other molecule types."""

    residues: int
    """Least number of residues in FASTA, the encoded proteins included."""

    binding_proteins: int
    """Accessions in the ProNAB file."""

    rows_per_protein: int
    """Measurements of each accession before awkward ones are added."""

    table_rows: int
    """Rows of each table."""


PLANS: Final[dict[Size, SizePlan]] = {
    "tiny": SizePlan(
        families=4,
        contigs=1,
        contig_nucleotides=2_500,
        transcripts=3,
        records_per_molecule=1,
        residues=6_000,
        binding_proteins=12,
        rows_per_protein=5,
        table_rows=20,
    ),
    "small": SizePlan(
        families=12,
        contigs=3,
        contig_nucleotides=16_000,
        transcripts=25,
        records_per_molecule=3,
        residues=100_000,
        binding_proteins=60,
        rows_per_protein=12,
        table_rows=400,
    ),
    "demo": SizePlan(
        families=24,
        contigs=40,
        contig_nucleotides=14_500,
        transcripts=150,
        records_per_molecule=10,
        residues=1_000_000,
        binding_proteins=150,
        rows_per_protein=20,
        table_rows=2_000,
    ),
}
