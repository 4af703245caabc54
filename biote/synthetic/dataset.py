"""A folder of synthetic data laid out as the real data are, in one call.

```
genbank/bacteria/  genbank/eukaryotes/  genbank/molecule_types/  genbank/awkward/
fasta/  pronab/pronab_no_mutations.json  jaspar/  tables/
```
The files are the same for every size, so a folder that is written over holds nothing old.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from biote.molecules import NUCLEIC_MOLECULES, Molecule
from biote.synthetic.fasta import ProteinRecord, uniprot_accession, write_fasta
from biote.synthetic.genbank import (
    GenBankRecord,
    faulty_records,
    format_record,
    write_genbank,
)
from biote.synthetic.genomes import (
    Species,
    Stretch,
    draw_contig,
    draw_species,
    draw_transcript,
    mutate_nucleotides,
)
from biote.synthetic.jaspar import draw_jaspar, write_jaspar
from biote.synthetic.pronab import BindingData, draw_binding_data, write_pronab
from biote.synthetic.proteins import ProteinFamily, draw_families, draw_member, pick_family
from biote.synthetic.recognition import find_recognition_residues
from biote.synthetic.sizes import PLANS, Size, SizePlan
from biote.synthetic.tables import binding_table, coding_table, write_table

_LINEAGES: Final = (
    ("Syntheticus primus", "Bacteria; Syntheticota; Syntheticus", "BCT", 0.0),
    ("Syntheticus alter", "Bacteria; Syntheticota; Syntheticus", "BCT", 0.0),
    ("Fictomyces exemplaris", "Eukaryota; Fungi; Fictomycetes; Fictomyces", "PLN", 0.5),
)
_JASPAR_STREAM: Final = 0x4A41535041
_WITHOUT_GENES: Final = (
    Molecule.RRNA,
    Molecule.DS_RRNA,
    Molecule.TRNA,
    Molecule.MS_DNA,
    Molecule.MS_RNA,
)


@dataclass(frozen=True, kw_only=True)
class SyntheticCounts:
    """What was written."""

    nucleic_records: int
    nucleotides: int
    bad_records: int
    """GenBank records that no reader should accept."""

    genes: int
    proteins: int
    residues: int
    binding_proteins: int
    binding_rows: int
    awkward_rows: dict[str, int]
    """Binding rows of each awkward kind."""

    profiles: int
    """JASPAR profiles, all versions."""

    table_rows: int
    """Rows of all tables, each counted once."""


def write_all(folder: Path, *, seed: int, size: Size) -> SyntheticCounts:
    """Write synthetic data in the real formats and the real folders.

    Args:
        folder: Folder to write to; made if it is not there. Files of the same name are replaced.
        seed: Decides every letter, from 0.
        size: About 50 kB (``tiny``), 0.5 MB (``small``), or 2 M nucleotides and 1 M residues
            (``demo``).
    """
    plan = PLANS[size]
    # Every part draws from a stream of its own: a change to one leaves the others as they were.
    streams = np.random.default_rng(seed).spawn(7)
    families = draw_families(plan.families, rng=streams[0])
    species: list[Species] = []
    for name, lineage, division, intron_rate in _LINEAGES:
        species.append(
            draw_species(
                name,
                lineage,
                division=division,
                intron_rate=intron_rate,
                relative=species[0] if species else None,
                rng=streams[1],
            )
        )
    genomes = [_draw_genome(i, s, families, plan, streams[2]) for i, s in enumerate(species)]
    others = _draw_molecule_types(species, families, plan, streams[3])
    write_genbank(folder / "genbank/bacteria/syntheticus_primus.gbk.gz", _texts(genomes[0]))
    write_genbank(folder / "genbank/bacteria/syntheticus_alter.gbff.gz", _texts(genomes[1]))
    write_genbank(folder / "genbank/eukaryotes/fictomyces_exemplaris.gb.gz", _texts(genomes[2]))
    for molecule, of_molecule in others.items():
        name = f"genbank/molecule_types/{molecule.value.lower().replace('-', '_')}.gb.gz"
        write_genbank(folder / name, _texts(of_molecule))
    faulty, kept = _draw_awkward(species[0], streams[4])
    # Plain, as the one file whose faults a person may want to read.
    write_genbank(folder / "genbank/awkward/faults.gb", [*_texts(kept), *faulty])

    records = [record for group in (*genomes, *others.values(), kept) for record in group]
    encoded = [(gene, record.organism) for record in records for gene in record.genes]
    reviewed = [
        _protein(i, gene.protein, family=gene.family, gene=gene.name, organism=organism)
        for i, (gene, organism) in enumerate(encoded)
    ]
    relatives = _draw_relatives(families, reviewed, plan, streams[5])
    write_fasta(folder / "fasta/UP000000001.fasta.gz", reviewed)
    write_fasta(folder / "fasta/UP000000002.fasta.gz", relatives)
    proteins = [*reviewed, *relatives]

    binding = draw_binding_data(
        families,
        proteins=plan.binding_proteins,
        rows_per_protein=plan.rows_per_protein,
        rng=streams[6],
    )
    write_pronab(folder / "pronab/pronab_no_mutations.json", binding)
    # A stream that none of the others is, and scaffolds unlike those of the binding proteins.
    own = np.random.default_rng([seed, _JASPAR_STREAM])
    jaspar = draw_jaspar(
        _dna_sites(binding),
        draw_families(plan.families, rng=own),
        factors=plan.binding_proteins,
        rng=own,
    )
    write_jaspar(folder / "jaspar", jaspar)
    pairs = binding_table(binding, rows=plan.table_rows)
    windows = coding_table(species[0], families, rows=plan.table_rows, rng=streams[6])
    write_table(folder / "tables/binding", pairs)
    write_table(folder / "tables/coding", windows)
    return SyntheticCounts(
        nucleic_records=len(records),
        nucleotides=sum(len(record.sequence) for record in records),
        bad_records=len(faulty),
        genes=len(encoded),
        proteins=len(proteins),
        residues=sum(len(protein.sequence) for protein in proteins),
        binding_proteins=len(binding.proteins),
        binding_rows=sum(len(protein.measurements) for protein in binding.proteins),
        awkward_rows=binding.awkward,
        profiles=len(jaspar.profiles),
        table_rows=len(pairs["id"]) + len(windows["id"]),
    )


def _dna_sites(binding: BindingData) -> list[str]:
    """Recognition residues of the proteins that bind DNA, each once."""
    of_dna = (p for p in binding.proteins if any(row.kind == "DNA" for row in p.measurements))
    return sorted({find_recognition_residues(protein.sequence) for protein in of_dna})


def _texts(records: list[GenBankRecord]) -> list[str]:
    return [format_record(record) for record in records]


def _record(
    number: int, molecule: Molecule, stretch: Stretch, species: Species, *, circular: bool = False
) -> GenBankRecord:
    accession = f"SY{number:06d}"
    return GenBankRecord(
        accession=accession,
        molecule=molecule,
        sequence=stretch.sequence,
        organism=species.name,
        lineage=species.lineage,
        division=species.division,
        definition=f"{species.name} {molecule.value} {accession}, synthetic sequence",
        genes=stretch.genes,
        circular=circular,
    )


def _draw_genome(
    index: int,
    species: Species,
    families: list[ProteinFamily],
    plan: SizePlan,
    rng: np.random.Generator,
) -> list[GenBankRecord]:
    return [
        _record(
            index * 1000 + contig,
            Molecule.DNA,
            draw_contig(
                species,
                families,
                nucleotides=plan.contig_nucleotides,
                prefix=f"SY{index}{contig:02d}",
                rng=rng,
            ),
            species,
            circular=species.division == "BCT" and contig == 0,
        )
        for contig in range(plan.contigs)
    ]


def _draw_molecule_types(
    species: list[Species], families: list[ProteinFamily], plan: SizePlan, rng: np.random.Generator
) -> dict[Molecule, list[GenBankRecord]]:
    """Records of every molecule type but genomic DNA: transcripts, or relatives of one RNA."""
    eukaryote = species[-1]
    drawn: dict[Molecule, list[GenBankRecord]] = {}
    for code, molecule in enumerate(NUCLEIC_MOLECULES):
        if molecule is Molecule.DNA:
            continue
        messenger = molecule is Molecule.MRNA
        ancestor = eukaryote.intergenic.sample(int(rng.integers(70, 200)), rng=rng)
        drawn[molecule] = []
        for i in range(plan.transcripts if messenger else plan.records_per_molecule):
            if molecule in _WITHOUT_GENES:
                stretch = Stretch(mutate_nucleotides(ancestor, 0.1, rng=rng))
            else:
                name = f"{molecule.value.lower().replace('-', '')}{i + 1}"
                stretch = draw_transcript(eukaryote, families, name=name, rng=rng)
            number = 10_000 + code * 1000 + i
            drawn[molecule].append(_record(number, molecule, stretch, eukaryote))
    return drawn


def _draw_awkward(
    species: Species, rng: np.random.Generator
) -> tuple[list[str], list[GenBankRecord]]:
    """Texts of faulty records, and sound ones that share their file."""
    names = list(faulty_records(_short_record(0, species, rng)))
    faulty = [
        faulty_records(_short_record(90_000 + i, species, rng))[name]
        for i, name in enumerate(names)
    ]
    return faulty, [_short_record(91_000 + i, species, rng) for i in range(2)]


def _short_record(number: int, species: Species, rng: np.random.Generator) -> GenBankRecord:
    length = int(rng.integers(100, 200))
    stretch = Stretch(species.intergenic.sample(length, rng=rng))
    return _record(number, Molecule.DNA, stretch, species)


def _draw_relatives(
    families: list[ProteinFamily],
    encoded: list[ProteinRecord],
    plan: SizePlan,
    rng: np.random.Generator,
) -> list[ProteinRecord]:
    """More members of the families, until there are enough residues."""
    residues = sum(len(record.sequence) for record in encoded)
    relatives: list[ProteinRecord] = []
    while residues < plan.residues or not relatives:
        family = pick_family(families, rng=rng)
        sequence = draw_member(family, rng=rng)
        number = 200_000 + len(relatives)
        relatives.append(
            _protein(
                number,
                sequence,
                family=family.name,
                gene=f"rel{len(relatives) + 1}",
                organism="Fictomyces alienus",
                reviewed=False,
            )
        )
        residues += len(sequence)
    return relatives


def _protein(
    number: int, sequence: str, *, family: str, gene: str, organism: str, reviewed: bool = True
) -> ProteinRecord:
    accession = uniprot_accession(number)
    return ProteinRecord(
        accession=accession,
        name=f"{family if reviewed else accession}_SYNTH",
        description=f"{family} family protein {gene}",
        organism=organism,
        gene=gene,
        sequence=sequence,
        reviewed=reviewed,
    )
