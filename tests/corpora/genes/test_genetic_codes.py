from __future__ import annotations

from Bio.Data import CodonTable

from biote.corpora.genes.genetic_codes import CODONS, GENETIC_CODES


def test_every_code_is_that_of_biopython() -> None:
    theirs = CodonTable.unambiguous_dna_by_id
    assert GENETIC_CODES.keys() == theirs.keys()
    for number, code in GENETIC_CODES.items():
        table = theirs[number]
        assert set(table.start_codons) == code.starts, number
        assert set(table.stop_codons) == code.stops, number
        for codon, residue in zip(CODONS, code.residues, strict=True):
            assert table.forward_table.get(codon, "*") == residue, (number, codon)
