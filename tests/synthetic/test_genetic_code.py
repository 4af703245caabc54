from __future__ import annotations

import itertools

import numpy as np
import pytest
from Bio.Data import CodonTable
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st

from biote.molecules import STANDARD_RESIDUES
from biote.synthetic.genetic_code import CODONS, draw_codon_usage, encode_protein, translate


def test_the_code_is_the_standard_one() -> None:
    standard = CodonTable.unambiguous_dna_by_id[1].forward_table
    ours = {codon: residue for residue, codons in CODONS.items() for codon in codons}
    assert ours == standard
    assert len(list(itertools.product("ACGT", repeat=3))) == len(ours) + 3


@given(st.text(alphabet=STANDARD_RESIDUES, max_size=80), st.integers(0, 2**32))
def test_translation_undoes_encoding(tail: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    protein = "M" + tail
    coding = encode_protein(protein, draw_codon_usage(rng), rng=rng)
    assert translate(coding) == protein
    assert str(Seq(coding).translate(cds=True)) == protein


def test_species_prefer_codons() -> None:
    rng = np.random.default_rng(0)
    usage = draw_codon_usage(rng)
    coding = encode_protein("M" + "L" * 5000, usage, rng=rng)[3:-3]
    codons = [coding[i : i + 3] for i in range(0, len(coding), 3)]
    shares = [codons.count(codon) / len(codons) for codon in CODONS["L"]]
    np.testing.assert_allclose(shares, usage["L"], atol=0.03)
    assert max(shares) > 1.5 / 6


@pytest.mark.parametrize("coding", ["ATGAAA", "ATGAA", "ATGNNNTAA"])
def test_what_is_no_coding_sequence_is_refused(coding: str) -> None:
    with pytest.raises(ValueError, match=r"codon"):
        translate(coding)
