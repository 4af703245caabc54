from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

import gb_io
import polars as pl
import pytest

from biote.corpora.genbank import read_genbank
from biote.corpora.records import Record
from biote.errors import DataError
from biote.molecules import NUCLEIC_MOLECULES, Modality, canonical_bytes
from biote.synthetic.dataset import SyntheticCounts, write_all


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticCounts]:
    folder = tmp_path_factory.mktemp("synthetic")
    return folder, write_all(folder, seed=3, size="tiny")


def test_a_seed_decides_every_byte(tiny: tuple[Path, SyntheticCounts], tmp_path: Path) -> None:
    folder, counts = tiny
    assert write_all(tmp_path / "same", seed=3, size="tiny") == counts
    assert _hashes(tmp_path / "same") == _hashes(folder)
    write_all(tmp_path / "other", seed=4, size="tiny")
    other = _hashes(tmp_path / "other")
    assert other.keys() == _hashes(folder).keys()
    assert not set(other.values()) & set(_hashes(folder).values())


def test_the_folder_is_laid_out_as_the_real_one(tiny: tuple[Path, SyntheticCounts]) -> None:
    folder, _ = tiny
    assert {p.name for p in folder.iterdir()} == {
        "genbank",
        "fasta",
        "pronab",
        "jaspar",
        "tables",
    }
    assert {p.name for p in (folder / "genbank").iterdir()} == {
        "bacteria",
        "eukaryotes",
        "molecule_types",
        "awkward",
    }
    assert (folder / "pronab/pronab_no_mutations.json").is_file()
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 100_000


def test_a_larger_size_writes_over_every_file(
    tiny: tuple[Path, SyntheticCounts], tmp_path: Path
) -> None:
    folder, _ = tiny
    write_all(tmp_path, seed=3, size="small")
    assert _hashes(tmp_path).keys() == _hashes(folder).keys()


def test_counts_are_what_readers_find(tiny: tuple[Path, SyntheticCounts]) -> None:
    folder, counts = tiny
    sound, bad, molecules = [], 0, set()
    for path in sorted((folder / "genbank").rglob("*.g*b*")):
        for record in read_genbank(path):
            if not isinstance(record, Record):
                bad += 1
                continue
            try:
                sound.append(canonical_bytes(record.sequence[:], Modality.NUCLEIC))
                molecules.add(record.molecule)
            except DataError:
                bad += 1
    assert (len(sound), bad) == (counts.nucleic_records, counts.bad_records)
    assert sum(len(sequence) for sequence in sound) == counts.nucleotides
    assert molecules == set(NUCLEIC_MOLECULES)

    proteins = "".join(
        gzip.decompress(path.read_bytes()).decode() for path in (folder / "fasta").iterdir()
    ).split(">")[1:]
    sequences = ["".join(entry.splitlines()[1:]) for entry in proteins]
    assert (len(sequences), sum(map(len, sequences))) == (counts.proteins, counts.residues)
    assert len({entry.split("|")[1] for entry in proteins}) == counts.proteins

    binding = json.loads((folder / "pronab/pronab_no_mutations.json").read_text())
    assert len(binding) == counts.binding_proteins
    assert sum(len(e["binding data"]) for e in binding.values()) == counts.binding_rows


def test_genes_and_fasta_hold_the_same_proteins(tiny: tuple[Path, SyntheticCounts]) -> None:
    folder, counts = tiny
    translations = [
        qualifier.value or ""
        for path in sorted((folder / "genbank").rglob("*.gz"))
        for record in gb_io.load(io.BytesIO(gzip.decompress(path.read_bytes())))
        for feature in record.features
        for qualifier in feature.qualifiers
        if qualifier.key == "translation"
    ]
    fasta = gzip.decompress((folder / "fasta/UP000000001.fasta.gz").read_bytes()).decode()
    sequences = ["".join(entry.splitlines()[1:]) for entry in fasta.split(">")[1:]]
    assert sorted(translations) == sorted(sequences)
    assert len(sequences) == counts.genes


def test_the_demo_is_as_large_as_told(tmp_path: Path) -> None:
    counts = write_all(tmp_path, seed=0, size="demo")
    assert counts.nucleotides == pytest.approx(2_000_000, rel=0.15)
    assert counts.residues == pytest.approx(1_000_000, rel=0.05)
    assert counts.binding_proteins == 150
    assert counts.binding_rows == pytest.approx(3_000, rel=0.15)


def test_tables_hold_the_same_in_both_formats(tiny: tuple[Path, SyntheticCounts]) -> None:
    folder, counts = tiny
    rows = 0
    for name in ("binding", "coding"):
        table = pl.read_parquet(folder / f"tables/{name}.parquet")
        assert pl.read_csv(folder / f"tables/{name}.csv").equals(table)
        assert table["id"].is_unique().all()
        rows += len(table)
    assert rows == counts.table_rows
    assert set(pl.read_csv(folder / "tables/coding.csv")["split"]) == {
        "train",
        "validation",
        "test",
    }
