from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import gb_io
import numpy as np
import pytest
from Bio import SeqIO

from biote.corpora.genbank import read_genbank
from biote.corpora.records import BadRecord, Record
from biote.errors import DataError
from biote.molecules import NUCLEIC_MOLECULES, Modality, Molecule, canonical_bytes
from biote.synthetic.genbank import (
    GenBankRecord,
    faulty_records,
    format_record,
    write_genbank,
)
from biote.synthetic.genomes import Stretch, draw_contig, draw_species
from biote.synthetic.proteins import draw_families


def _record(
    molecule: Molecule = Molecule.DNA, *, genes: bool = True, circular: bool = False
) -> GenBankRecord:
    rng = np.random.default_rng(4)
    species = draw_species(
        "Genus species", "Domain; Phylum", division="PLN", intron_rate=0.7, rng=rng
    )
    stretch = Stretch(species.intergenic.sample(130, rng=rng))
    if genes:
        families = draw_families(3, rng=rng)
        stretch = draw_contig(species, families, nucleotides=20_000, prefix="g", rng=rng)
    return GenBankRecord(
        accession="SY000001",
        molecule=molecule,
        sequence=stretch.sequence,
        organism=species.name,
        lineage=species.lineage,
        division=species.division,
        definition="A definition that is so long that it does not fit on one line of the "
        "eighty columns that a flat file has",
        genes=stretch.genes,
        circular=circular,
    )


@pytest.fixture(scope="module")
def record() -> GenBankRecord:
    return _record()


def test_biopython_reads_back_what_was_written(record: GenBankRecord) -> None:
    read: Any = SeqIO.read(io.StringIO(format_record(record)), "genbank")
    assert str(read.seq) == record.sequence
    assert read.id == "SY000001.1"
    assert read.description == record.definition
    assert read.annotations["organism"] == record.organism
    assert read.annotations["taxonomy"] == ["Domain", "Phylum"]
    coding = [feature for feature in read.features if feature.type == "CDS"]
    assert len(coding) == len(record.genes)
    for feature, gene in zip(coding, record.genes, strict=True):
        assert feature.qualifiers["translation"] == [gene.protein]
        assert str(feature.extract(read.seq).translate(cds=True)) == gene.protein
        assert feature.qualifiers["gene"] == [gene.name]
    kinds = {(len(feature.location.parts) > 1, feature.location.strand) for feature in coding}
    assert kinds == {(False, 1), (False, -1), (True, 1), (True, -1)}


def test_gb_io_reads_back_what_was_written(record: GenBankRecord) -> None:
    (read,) = gb_io.load(io.BytesIO(format_record(record).encode()))
    assert bytes(read.sequence).decode().upper() == record.sequence
    assert read.molecule_type == "DNA"
    translations = [
        qualifier.value
        for feature in read.features
        if feature.kind == "CDS"
        for qualifier in feature.qualifiers
        if qualifier.key == "translation"
    ]
    assert translations == [gene.protein for gene in record.genes]


@pytest.mark.parametrize("molecule", NUCLEIC_MOLECULES)
@pytest.mark.parametrize("circular", [False, True])
def test_molecule_type_and_topology_stand_in_their_columns(
    molecule: Molecule, circular: bool
) -> None:
    record = _record(molecule, genes=False, circular=circular)
    locus = format_record(record).partition("\n")[0]
    assert len(locus) == 79
    assert locus[12:28].rstrip() == "SY000001"
    assert locus[29:40].lstrip() == str(len(record.sequence))
    assert locus[40:44] == " bp "
    assert locus[44:53].strip() == molecule.value
    assert locus[55:63].rstrip() == ("circular" if circular else "linear")
    assert locus[64:67] == "PLN"
    read: Any = SeqIO.read(io.StringIO(format_record(record)), "genbank")
    assert read.annotations["molecule_type"] == molecule.value
    assert read.annotations["topology"] == ("circular" if circular else "linear")
    assert str(read.seq) == record.sequence


def test_lines_fit_a_flat_file(record: GenBankRecord) -> None:
    assert max(len(line) for line in format_record(record).splitlines()) <= 80


def test_gzip_and_plain_hold_the_same(record: GenBankRecord, tmp_path: Path) -> None:
    texts = [format_record(record)] * 2
    write_genbank(tmp_path / "new" / "a.gb", texts)
    write_genbank(tmp_path / "a.gb.gz", texts)
    plain = (tmp_path / "new" / "a.gb").read_bytes()
    assert gzip.decompress((tmp_path / "a.gb.gz").read_bytes()) == plain
    parsed = SeqIO.parse(io.StringIO(plain.decode()), "genbank")
    assert len(list(parsed)) == 2


@pytest.mark.parametrize("fault", list(faulty_records(_record(genes=False))))
def test_a_faulty_record_is_found_and_costs_no_other(fault: str, tmp_path: Path) -> None:
    sound = _record(genes=False)
    path = tmp_path / "a.gb"
    write_genbank(path, [format_record(sound), faulty_records(sound)[fault]])
    first, second = read_genbank(path)
    assert isinstance(first, Record)
    assert first.sequence[:].decode().upper() == sound.sequence
    if fault == "gap in the sequence":
        assert isinstance(second, Record)
        with pytest.raises(DataError, match="gap '-' at position"):
            canonical_bytes(second.sequence[:], Modality.NUCLEIC)
    else:
        assert isinstance(second, BadRecord)


def test_every_fault_is_told_from_the_others(tmp_path: Path) -> None:
    faulty = faulty_records(_record(genes=False))
    write_genbank(tmp_path / "a.gb", faulty.values())
    reasons = [r.reason for r in read_genbank(tmp_path / "a.gb") if isinstance(r, BadRecord)]
    assert len(set(reasons)) == len(reasons) == len(faulty) - 1
