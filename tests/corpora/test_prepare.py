from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from biote.corpora.manifest import CORPUS_FILE, load_info
from biote.corpora.prepare import Report, prepare
from biote.corpora.shards import Corpus
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule
from biote.tokenization import BPETokenizer, CharacterTokenizer

GENBANK = """\
LOCUS       AB1                       12 bp    mRNA    linear   BCT 11-OCT-2001
ACCESSION   AB1
VERSION     AB1.1
ORIGIN
        1 acgtacgtac gt
//
LOCUS       AB2                       99 bp    mRNA    linear   BCT 11-OCT-2001
VERSION     AB2.1
ORIGIN
        1 acgtacgtac gt
//
LOCUS       AB3                       13 bp    mRNA    linear   BCT 11-OCT-2001
VERSION     AB3.1
ORIGIN
        1 acgtacgtac gta
//
"""


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "a.gb.gz").write_bytes(gzip.compress(GENBANK.encode()))
    (folder / "b.faa").write_text(">p1\nMEL\n>p2\nME-L\n>p3\nMELV*\n>p4\n\n>p5\nMEW\n")
    (folder / "c.fna").write_text("".join(f">d{i}\n{'ACGT'[i % 4] * (i + 1)}\n" for i in range(50)))
    return folder


def run(inputs: Path, output: Path, **options: object) -> Report:
    return prepare([inputs], output, tokenizer=CharacterTokenizer(), **options)  # type: ignore[arg-type]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_one_unreadable_record_keeps_the_rest_of_its_file(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out")
    corpus = Corpus(tmp_path / "out")
    assert [corpus.record_id(unit) for unit in range(5)] == ["AB1.1", "AB3.1", "p1", "p3", "p5"]
    ledger = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    assert [(Path(row["source"]).name, row["line"], row["record"]) for row in ledger] == [
        ("a.gb.gz", 7, "AB2.1"),
        ("b.faa", 3, "p2"),
        ("b.faa", 7, "p4"),
    ]
    assert ledger[1]["reason"] == "character outside the alphabet"
    assert ledger[1]["detail"] == "gap '-' at position 3 is not in the protein alphabet"
    assert report.info.bad_records == 3
    assert report.ledger.reasons.total() == 3
    assert [bad.record for bad in report.ledger.examples] == ["AB2.1", "p2", "p4"]


def test_the_description_tells_what_went_in(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out", validation_fraction=0.2)
    info = load_info(tmp_path / "out")
    assert list(info.molecules) == [Molecule.DNA, Molecule.MRNA, Molecule.PROTEIN]
    mrna, protein = info.molecules[Molecule.MRNA], info.molecules[Molecule.PROTEIN]
    assert (mrna.records, mrna.units, mrna.residues, mrna.tokens) == (2, 2, 25, 25)
    assert (protein.records, protein.residues) == (3, 10)
    for counts in info.molecules.values():
        assert 0 < counts.validation_units < counts.units
        assert 0 < counts.validation_tokens < counts.tokens
    first, second, third = info.sources
    content = (inputs / "a.gb.gz").read_bytes()
    assert (first.bytes, first.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (first.molecule, first.molecule_guessed, first.bad_records) == (None, False, 1)
    assert (second.molecule, second.molecule_guessed, second.records) == ("protein", True, 3)
    assert (third.molecule, third.molecule_guessed, third.format) == ("DNA", True, "fasta")
    for shard in info.shards:
        path = tmp_path / "out" / shard.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard.sha256
    assert [shard.file for shard in info.shards] == [
        f"shards/0000{i}-00000-000.arrow" for i in range(3)
    ]
    assert sum(shard.rows for shard in info.shards) == 55


def test_any_number_of_workers_gives_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(inputs, tmp_path / "one", shard_bytes=400)
    run(
        inputs,
        tmp_path / "two",
        shard_bytes=400,
        workers=2,
        progress=lambda read, total: seen.append((read, total)),
    )
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert len(load_info(tmp_path / "one").shards) > 5
    total = sum(path.stat().st_size for path in inputs.iterdir())
    assert seen[-1] == (total, total)


def test_progress_counts_the_bytes_of_the_input(inputs: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(inputs, tmp_path / "out", progress=lambda read, total: seen.append((read, total)))
    total = sum(path.stat().st_size for path in inputs.iterdir())
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_a_given_molecule_type_holds_for_fasta_alone(inputs: Path, tmp_path: Path) -> None:
    (inputs / "b.faa").unlink()
    run(inputs, tmp_path / "out", fasta_molecule=Molecule.TRNA)
    info = load_info(tmp_path / "out")
    assert list(info.molecules) == [Molecule.MRNA, Molecule.TRNA]
    assert info.sources[1].molecule == "tRNA"
    assert not info.sources[1].molecule_guessed


def test_a_corpus_is_replaced_only_when_asked(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(inputs, output, shard_bytes=400)
    before = hashes(output)
    with pytest.raises(DataError, match=r"out: holds a corpus already, of other .* --overwrite"):
        run(inputs, output)
    assert hashes(output) == before
    (output / "mine.txt").write_text("kept")
    (inputs / "c.fna").unlink()
    run(inputs, output, overwrite=True)
    assert Corpus(output).n_units == 5
    assert len(list((output / "shards").iterdir())) == 2
    assert (output / "mine.txt").exists()


def test_an_encoder_folder_is_not_overwritten(inputs: Path, tmp_path: Path) -> None:
    CharacterTokenizer("released").save(tmp_path / "encoder")
    with pytest.raises(DataError, match="holds a tokenizer or an encoder"):
        run(inputs, tmp_path / "encoder", overwrite=True)


def test_an_interrupted_preparation_is_no_corpus_and_can_be_repeated(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("biote.corpora.prepare._finish", stop)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, output)
    with pytest.raises(DataError, match=r"no corpus\.json"):
        Corpus(output)
    run(inputs, output)
    run(inputs, tmp_path / "other")
    assert hashes(output) == hashes(tmp_path / "other")


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        run(inputs, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert not (tmp_path / "out" / CORPUS_FILE).exists()


@pytest.mark.parametrize("text", ["", ">a\n\n>b\nAC-GT\n"])
def test_nothing_usable_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.fa"
    path.write_text(text)
    reason = "no record in the file" if not text else "character outside the alphabet"
    with pytest.raises(DataError, match=f"no usable record in 1 file: .*{reason}"):
        run(path, tmp_path / "out")
    assert not (tmp_path / "out" / CORPUS_FILE).exists()
    assert (tmp_path / "out/ledger.jsonl").read_text()


@pytest.mark.parametrize(
    ("options", "error"),
    [({"workers": 0}, ConfigError), ({"validation_fraction": 1.0}, DataError)],
)
def test_options_out_of_range_are_refused_before_any_work(
    inputs: Path, tmp_path: Path, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(inputs, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_bpe_corpus_with_a_record_over_one_piece(
    real_data: Path, inputs: Path, tmp_path: Path
) -> None:
    tokenizer = BPETokenizer(real_data / "tokenizers/mixed_bpe.model")
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 150_000))
    (inputs / "d.fna").write_text(f">long\n{letters}\n")
    prepare([inputs], tmp_path / "out", tokenizer=tokenizer)
    corpus = Corpus(tmp_path / "out")
    unit = corpus.n_units - 1
    length = int(corpus.lengths(np.array([unit]))[0])
    assert corpus.record_id(unit) == "long"
    tokens = corpus.tokens(unit, 0, length)
    assert tokens.dtype == corpus.tokenizer.dtype == tokenizer.dtype
    assert corpus.tokenizer.decode(tokens, Molecule.DNA) == letters


def test_real_files(real_data: Path, tmp_path: Path) -> None:
    sources = [
        real_data / "genbank/awkward",
        real_data / "genbank/molecule_types",
        real_data / "genbank/eukaryotes",
        real_data / "fasta/metagenomics_dna.fasta.gz",
        real_data / "fasta/prokka_Mitochondria_sprot.faa.gz",
    ]
    report = prepare(sources, tmp_path / "out", tokenizer=CharacterTokenizer())
    counts = {m.value: c.records for m, c in report.info.molecules.items()}
    assert counts == {
        "DNA": 232,
        "mRNA": 9,
        "RNA": 3,
        "cRNA": 27,
        "ss-RNA": 1,
        "ss-DNA": 1,
        "protein": 1_273,
    }
    assert report.info.bad_records == 9
    by_name = {Path(source.file).name: source for source in report.info.sources}
    assert by_name["metagenomics_dna.fasta.gz"].molecule == "DNA"
    assert by_name["prokka_Mitochondria_sprot.faa.gz"].molecule == "protein"
    corpus = Corpus(tmp_path / "out")
    units = np.arange(corpus.n_units)
    assert corpus.lengths(units).sum() == sum(c.tokens for c in report.info.molecules.values())
    held = corpus.info.validation.is_validation(corpus.digests(units))
    for code in np.unique(corpus.molecule_codes(units)):
        flags = held[corpus.molecule_codes(units) == code]
        assert not flags.all()
        assert flags.any() or len(flags) == 1


@pytest.mark.parametrize("name", ["progress/results.txt", "ledger.jsonl", "x.fasta.gz.partial"])
def test_a_folder_of_other_things_is_left_alone(inputs: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(DataError, match="holds something else than a corpus"):
        run(inputs, tmp_path / "out", overwrite=True)
    assert mine.read_text() == "precious"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_a_partial_file_of_another_program_in_a_corpus_stays(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out")
    mine, left = (tmp_path / "out" / name for name in ("x.gz.partial", "corpus.json.1a.partial"))
    for path in (mine, left):
        path.write_text("")
    run(inputs, tmp_path / "out")
    assert mine.exists()
    assert not left.exists()


def test_a_source_replaced_by_an_older_one_is_another(inputs: Path, tmp_path: Path) -> None:
    first = run(inputs, tmp_path / "out")
    source = inputs / "c.fna"
    text = source.read_text()
    newer = tmp_path / "newer"
    newer.write_text(text.swapcase())
    os.utime(newer, (1e9, 1e9))
    newer.rename(source)
    assert source.stat().st_size == len(text)
    with pytest.raises(DataError, match="holds a corpus already, of other sources"):
        run(inputs, tmp_path / "out")
    newer.write_text(text)
    newer.rename(source)
    assert run(inputs, tmp_path / "out").info == first.info


def test_a_source_that_changes_before_its_turn_is_refused(inputs: Path, tmp_path: Path) -> None:
    source = inputs / "c.fna"

    def truncate(read: int, total: int) -> None:
        source.write_text(">d\nACGT\n")

    with pytest.raises(DataError, match="changed while it was read"):
        run(inputs, tmp_path / "out", progress=truncate)


def test_a_file_whose_name_is_no_text_has_its_ledger_lines(tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    path = folder / os.fsdecode(b"\xff\xfe.fa")
    path.write_text(">a\nACGT\n>b\nAC!T\n")
    report = run(folder, tmp_path / "out")
    assert report.ledger.examples[0].source == str(path)
    assert report.info.bad_records == 1


def test_a_description_that_was_edited_is_refused(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out")
    path = tmp_path / "out" / CORPUS_FILE
    path.write_text(path.read_text().replace('"records": 50', '"records": 51'))
    with pytest.raises(DataError, match="its checksum does not fit"):
        load_info(tmp_path / "out")
