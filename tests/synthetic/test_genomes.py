from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from biote.molecules import STANDARD_RESIDUES, reverse_complement
from biote.synthetic.genetic_code import translate
from biote.synthetic.genomes import Species, Stretch, draw_contig, draw_species
from biote.synthetic.proteins import draw_families, draw_member, pick_family


def _species(intron_rate: float, seed: int) -> Species:
    rng = np.random.default_rng(seed)
    return draw_species("S", "L", division="BCT", intron_rate=intron_rate, rng=rng)


def _contig(species: Species, nucleotides: int, seed: int) -> Stretch:
    rng = np.random.default_rng(seed)
    families = draw_families(6, rng=np.random.default_rng(1))
    return draw_contig(species, families, nucleotides=nucleotides, prefix="g", rng=rng)


@pytest.mark.parametrize("intron_rate", [0.0, 1.0])
def test_every_gene_encodes_its_protein(intron_rate: float) -> None:
    contig = _contig(_species(intron_rate, 2), 30_000, 3)
    assert {gene.reverse for gene in contig.genes} == {False, True}
    for gene in contig.genes:
        assert translate(gene.coding_sequence(contig.sequence)) == gene.protein
        assert (len(gene.exons) > 1) == bool(intron_rate)
    ends = [0, *(place for gene in contig.genes for exon in gene.exons for place in exon)]
    assert ends == sorted(ends), "genes and exons stand in order and never overlap"


def test_introns_begin_and_end_as_splicing_needs() -> None:
    contig = _contig(_species(1.0, 2), 20_000, 3)
    introns = [
        (contig.sequence[left[1] : right[0]], gene.reverse)
        for gene in contig.genes
        for left, right in zip(gene.exons[:-1], gene.exons[1:], strict=True)
    ]
    assert introns
    for intron, reverse in introns:
        read = reverse_complement(intron) if reverse else intron
        assert read.startswith("GT")
        assert read.endswith("AG")


def test_a_seed_decides_everything() -> None:
    species = _species(0.5, 2)
    assert _contig(species, 3_000, 5) == _contig(species, 3_000, 5)
    assert _contig(species, 3_000, 5) != _contig(species, 3_000, 6)


def _cross_entropy(
    train: Sequence[str], test: Sequence[str], alphabet: str, *, order: int
) -> float:
    """Nats per letter of held-out sequences under a Markov model of counted letters."""
    size = len(alphabet)
    codes = np.zeros(256, np.int64)
    codes[[ord(letter) for letter in alphabet]] = np.arange(size)

    def counted(sequences: Sequence[str]) -> npt.NDArray[np.float64]:
        table = np.zeros(size ** (order + 1))
        for sequence in sequences:
            letters = codes[np.frombuffer(sequence.encode(), np.uint8)]
            windows = np.lib.stride_tricks.sliding_window_view(letters, order + 1)
            contexts = windows @ (size ** np.arange(order, -1, -1))
            table += np.bincount(contexts, minlength=len(table))
        return table.reshape(-1, size)

    seen, held_out = counted(train), counted(test)
    prior = 5 * (seen.sum(axis=0) + 1) / (seen.sum() + size)
    probabilities = (seen + prior) / (seen + prior).sum(axis=1, keepdims=True)
    return float(-(held_out * np.log(probabilities)).sum() / held_out.sum())


def test_nucleotides_can_be_guessed_from_their_neighbours() -> None:
    species = _species(0.5, 0)
    contigs = [_contig(species, 10_000, seed).sequence for seed in range(10)]
    train, test = contigs[:5], contigs[5:]
    unigram, trigram = (_cross_entropy(train, test, "ACGT", order=order) for order in (0, 2))
    assert trigram < unigram - 0.03
    shuffler = np.random.default_rng(0)
    train, test = (["".join(shuffler.permutation(list(s))) for s in half] for half in (train, test))
    unigram, trigram = (_cross_entropy(train, test, "ACGT", order=order) for order in (0, 2))
    assert trigram > unigram - 0.003, "shuffled letters tell nothing about each other"


def test_residues_can_be_guessed_from_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    families = draw_families(8, rng=rng)
    proteins = [draw_member(pick_family(families, rng=rng), rng=rng) for _ in range(300)]
    train, test = proteins[:150], proteins[150:]
    entropies = [_cross_entropy(train, test, STANDARD_RESIDUES, order=k) for k in (0, 1, 2)]
    assert entropies[1] < entropies[0] - 0.05
    assert entropies[2] < entropies[0] - 0.2


def test_folds_have_a_pattern_that_families_share() -> None:
    rng = np.random.default_rng(0)
    members = [draw_member(family, rng=rng) for family in draw_families(200, rng=rng)]
    train, test = members[:100], members[100:]
    unigram, bigram = (_cross_entropy(train, test, STANDARD_RESIDUES, order=k) for k in (0, 1))
    assert bigram < unigram - 0.02


def test_members_resemble_their_family_most_where_it_is_conserved() -> None:
    rng = np.random.default_rng(0)
    for family in draw_families(3, rng=rng):
        length = len(family.ancestor)
        members = [draw_member(family, rng=rng)[:length] for _ in range(200)]
        differs = np.array([list(member) for member in members]) != np.array(list(family.ancestor))
        conserved = family.mutation_rates < 0.1
        assert differs[:, conserved].mean() < 0.06
        assert 0.15 < differs[:, ~conserved].mean() < 0.35
        assert set("".join(members)) <= set(STANDARD_RESIDUES)
