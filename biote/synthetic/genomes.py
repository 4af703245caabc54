"""Genomes: genes of protein families, in a species' codons, between Markov-chain sequence.

Coordinates are 0-based and half-open on the strand that is written down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from biote.molecules import reverse_complement
from biote.synthetic.genetic_code import CodonUsage, draw_codon_usage, encode_protein
from biote.synthetic.markov import MarkovChain, draw_chain
from biote.synthetic.proteins import ProteinFamily, draw_member, pick_family

_MINUS_35_BOX: Final = "TTGACA"
_MINUS_10_BOX: Final = "TATAAT"
_RIBOSOME_SITE: Final = "AGGAGG"
_POLYADENYLATION_SIGNAL: Final = "AATAAA"
_LEAST_EXON: Final = 15


@dataclass(frozen=True)
class Species:
    """What decides how a genome is written."""

    name: str
    lineage: str
    division: str
    """GenBank division, three letters."""

    codon_usage: CodonUsage
    intergenic: MarkovChain
    intronic: MarkovChain
    intron_rate: float
    """Share of genes with introns."""


@dataclass(frozen=True)
class Gene:
    """A gene and the protein it encodes."""

    name: str
    family: str
    protein: str
    exons: tuple[tuple[int, int], ...]
    """Coding stretches, stop codon included, in ascending order of position."""

    reverse: bool
    """Whether it is read from the strand opposite to the one written down."""

    def coding_sequence(self, sequence: str) -> str:
        """Spliced coding sequence, start to stop codon.

        Args:
            sequence: Sequence the gene stands in.
        """
        spliced = "".join(sequence[start:stop] for start, stop in self.exons)
        return reverse_complement(spliced) if self.reverse else spliced

    def moved(self, offset: int) -> Gene:
        """The same gene where its sequence begins ``offset`` nucleotides later."""
        exons = tuple((start + offset, stop + offset) for start, stop in self.exons)
        return Gene(self.name, self.family, self.protein, exons, self.reverse)


@dataclass(frozen=True)
class Stretch:
    """A sequence and the genes in it."""

    sequence: str
    genes: tuple[Gene, ...] = ()


def draw_species(
    name: str,
    lineage: str,
    *,
    division: str,
    intron_rate: float,
    relative: Species | None = None,
    rng: np.random.Generator,
) -> Species:
    """Draw a species.

    Args:
        name: Organism, as GenBank writes it.
        lineage: Taxonomy, separated by semicolons.
        division: GenBank division, three letters.
        intron_rate: Share of genes with introns.
        relative: Species whose codons and intergenic sequence the drawn one's resemble, if any.
        rng: Source of randomness.
    """
    return Species(
        name=name,
        lineage=lineage,
        division=division,
        codon_usage=draw_codon_usage(rng, relative=relative.codon_usage if relative else None),
        intergenic=draw_chain(rng, relative=relative.intergenic if relative else None),
        intronic=draw_chain(rng),
        intron_rate=intron_rate,
    )


def draw_gene(
    species: Species, families: list[ProteinFamily], *, name: str, rng: np.random.Generator
) -> Stretch:
    """Draw a gene with its promoter, introns where the species has them.

    Args:
        species: Species.
        families: Families its protein may belong to.
        name: Name of the gene.
        rng: Source of randomness.
    """
    family = pick_family(families, rng=rng)
    protein = draw_member(family, rng=rng)
    coding = encode_protein(protein, species.codon_usage, rng=rng)
    promoter = _promoter(species, rng)
    has_introns = rng.random() < species.intron_rate
    sequence, exons = _with_introns(
        coding, species, number=int(rng.integers(1, 4)) if has_introns else 0, rng=rng
    )
    gene = Gene(name, family.name, protein, exons, reverse=False).moved(len(promoter))
    stretch = Stretch(promoter + sequence, (gene,))
    return _reversed(stretch) if rng.random() < 0.5 else stretch


def draw_contig(
    species: Species,
    families: list[ProteinFamily],
    *,
    nucleotides: int,
    prefix: str,
    rng: np.random.Generator,
) -> Stretch:
    """Draw a contig: genes on both strands between intergenic sequence.

    Args:
        species: Species.
        families: Families its proteins may belong to.
        nucleotides: Least length.
        prefix: What names of genes begin with; a running number follows.
        rng: Source of randomness.
    """
    pieces: list[str] = []
    genes: list[Gene] = []
    length = 0

    def add(stretch: Stretch) -> None:
        nonlocal length
        genes.extend(gene.moved(length) for gene in stretch.genes)
        pieces.append(stretch.sequence)
        length += len(stretch.sequence)

    def spacer() -> Stretch:
        return Stretch(species.intergenic.sample(int(rng.integers(200, 1200)), rng=rng))

    add(spacer())
    while length < nucleotides:
        add(draw_gene(species, families, name=f"{prefix}{len(genes) + 1:04d}", rng=rng))
        add(spacer())
    return Stretch("".join(pieces), tuple(genes))


def draw_transcript(
    species: Species, families: list[ProteinFamily], *, name: str, rng: np.random.Generator
) -> Stretch:
    """Draw a messenger RNA, written with T: leader, coding sequence, trailer and poly(A).

    Args:
        species: Species.
        families: Families its protein may belong to.
        name: Name of the gene.
        rng: Source of randomness.
    """
    family = pick_family(families, rng=rng)
    protein = draw_member(family, rng=rng)
    coding = encode_protein(protein, species.codon_usage, rng=rng)
    leader = species.intergenic.sample(int(rng.integers(20, 90)), rng=rng)
    trailer = species.intergenic.sample(int(rng.integers(30, 150)), rng=rng)
    tail = _POLYADENYLATION_SIGNAL + species.intergenic.sample(15, rng=rng) + "A" * 20
    exons = ((len(leader), len(leader) + len(coding)),)
    gene = Gene(name, family.name, protein, exons, reverse=False)
    return Stretch(leader + coding + trailer + tail, (gene,))


def mutate_nucleotides(sequence: str, rate: float, *, rng: np.random.Generator) -> str:
    """Draw a relative of a sequence without genes.

    Args:
        sequence: Canonical nucleotides.
        rate: Probability that a nucleotide is drawn anew (a quarter of those stay the same).
        rng: Source of randomness.
    """
    letters = np.array(list(sequence))
    drawn = rng.random(len(letters)) < rate
    letters[drawn] = rng.choice(list("ACGT"), int(drawn.sum()))
    return "".join(letters)


def _promoter(species: Species, rng: np.random.Generator) -> str:
    chain = species.intergenic
    return (
        _MINUS_35_BOX
        + chain.sample(17, rng=rng)
        + _MINUS_10_BOX
        + chain.sample(int(rng.integers(6, 30)), rng=rng)
        + _RIBOSOME_SITE
        + chain.sample(7, rng=rng)
    )


def _with_introns(
    coding: str, species: Species, *, number: int, rng: np.random.Generator
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Cut a coding sequence by introns; returns the sequence and its exons."""
    places = np.arange(_LEAST_EXON, len(coding) - _LEAST_EXON, _LEAST_EXON)
    cuts = np.sort(rng.choice(places, min(number, len(places)), replace=False)).tolist()
    sequence, exons = "", []
    for start, stop in zip([0, *cuts], [*cuts, len(coding)], strict=True):
        if start:
            intron = species.intronic.sample(int(rng.integers(40, 160)), rng=rng)
            sequence += "GT" + intron + "AG"
        exons.append((len(sequence), len(sequence) + stop - start))
        sequence += coding[start:stop]
    return sequence, tuple(exons)


def _reversed(stretch: Stretch) -> Stretch:
    length = len(stretch.sequence)
    genes = tuple(
        Gene(
            gene.name,
            gene.family,
            gene.protein,
            tuple((length - stop, length - start) for start, stop in reversed(gene.exons)),
            not gene.reverse,
        )
        for gene in stretch.genes
    )
    return Stretch(reverse_complement(stretch.sequence), genes)
