from __future__ import annotations

import re
from pathlib import Path

from Bio import SeqIO

from biote.corpora.fasta import read_fasta
from biote.corpora.records import Record
from biote.molecules import Molecule
from biote.synthetic.fasta import ProteinRecord, uniprot_accession, write_fasta

# As UniProt documents its accession numbers.
_ACCESSION = re.compile(r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9]([A-Z][A-Z0-9]{2}[0-9]){1,2}")


def _entry(number: int, sequence: str, *, reviewed: bool) -> ProteinRecord:
    return ProteinRecord(
        accession=uniprot_accession(number),
        name="FAM1_SYNTH",
        description="FAM1 family protein",
        organism="Genus species",
        gene="g1",
        sequence=sequence,
        reviewed=reviewed,
    )


def test_accessions_are_distinct_and_of_uniprots_form() -> None:
    accessions = {uniprot_accession(n) for n in (*range(5_000), 3_369_599)}
    assert len(accessions) == 5_001
    assert all(_ACCESSION.fullmatch(accession) for accession in accessions)


def test_both_readers_give_back_the_entries(tmp_path: Path) -> None:
    entries = [_entry(1, "MK" * 60, reviewed=True), _entry(2, "MACDEF" * 21, reviewed=False)]
    write_fasta(tmp_path / "a.fasta", entries)
    write_fasta(tmp_path / "a.fasta.gz", entries)
    theirs = list(SeqIO.parse(tmp_path / "a.fasta", "fasta"))
    assert [str(record.seq) for record in theirs] == [entry.sequence for entry in entries]
    assert theirs[0].id == f"sp|{entries[0].accession}|FAM1_SYNTH"
    assert theirs[1].id.startswith("tr|")
    ours = list(read_fasta(tmp_path / "a.fasta.gz", Molecule.PROTEIN))
    for record, entry in zip(ours, entries, strict=True):
        assert isinstance(record, Record)
        assert record.sequence[:].decode() == entry.sequence
    header = (tmp_path / "a.fasta").read_text().splitlines()[0]
    assert re.fullmatch(r">sp\|\w+\|\w+ .* OS=.* OX=\d+ GN=\w+ PE=\d SV=\d", header)
