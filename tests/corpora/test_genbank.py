from __future__ import annotations

import gzip
import io
import tempfile
import warnings
from pathlib import Path

import gb_io
import pytest
from Bio import SeqIO
from hypothesis import given
from hypothesis import strategies as st

import biote.corpora.blocks
from biote.corpora.flatfile import FlatRecord, cut_records
from biote.corpora.genbank import read_genbank
from biote.corpora.records import BadRecord, Record
from biote.molecules import Molecule

SEQUENCE = "acgtn" * 25


def origin(sequence: str = SEQUENCE) -> str:
    lines = []
    for start in range(0, len(sequence), 60):
        words = [sequence[i : i + 10] for i in range(start, min(start + 60, len(sequence)), 10)]
        lines.append(f"{start + 1:>9} {' '.join(words)}")
    return "\n".join(["ORIGIN      ", *lines, ""])


def locus(name: str = "AB1", length: int = len(SEQUENCE), rest: str = "DNA     linear") -> str:
    return f"LOCUS       {name:<16} {length:>11} bp    {rest}   BCT 11-OCT-2001\n"


def flat(name: str = "AB1", **fields: str) -> str:
    """A flat-file record; fields replace its parts."""
    head = (
        f"DEFINITION  Some bacterium\n            LOCUS and // in running text.\n"
        f"ACCESSION   {name}\nVERSION     {name}.1  GI:15823953\n"
        "FEATURES             Location/Qualifiers\n     source          1..125\n"
        '                     /note="//\n                     ORIGIN"\n'
    )
    return (
        fields.get("locus", locus(name))
        + fields.get("head", head)
        + fields.get("origin", origin())
        + fields.get("end", "//\n")
    )


def read(folder: Path, text: str | bytes, name: str = "x.gb") -> list[Record | BadRecord]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_genbank(path))


def test_a_record(tmp_path: Path) -> None:
    assert read(tmp_path, flat()) == [
        Record("AB1.1", SEQUENCE.encode(), Molecule.DNA, str(tmp_path / "x.gb"), 1)
    ]


def test_release_header_is_skipped_and_lines_are_counted(tmp_path: Path) -> None:
    header = "GBVRL1.SEQ     Genetic Sequence Data Bank\n\n  2 loci, from 2 sequences\n\n"
    records = read(tmp_path, header + flat("A") + flat("B"))
    assert [(r.id, r.line) for r in records if isinstance(r, Record)] == [
        ("A.1", 5),
        ("B.1", 5 + flat("A").count("\n")),
    ]


def test_windows_line_ends(tmp_path: Path) -> None:
    records = read(tmp_path, (flat("A") + flat("B")).replace("\n", "\r\n"))
    assert [r.sequence[:].decode() for r in records if isinstance(r, Record)] == [SEQUENCE] * 2


@pytest.mark.parametrize(
    ("line", "molecule"),
    [
        ("LOCUS       ATCOR66M      125 bp    mRNA            PLN       02-MAR-1992\n", "mRNA"),
        ("LOCUS       ATKIN2        125 bp    DNA             PLN       23-JUL-1992\n", "DNA"),
        ("LOCUS       NC_001422    125 bp ss-DNA     circular PHG 09-JUL-2002\n", "ss-DNA"),
        ("LOCUS       Exported       125 bp ds-DNA     linear   SYN 18-MAY-2021\n", "DNA"),
        ("LOCUS       2L:14000-19000   125 bp    dna     linear   UNK \n", "DNA"),
        ("LOCUS       my plasmid 2     125 bp    DNA     circular\n", "DNA"),
        ("LOCUS       HM138502       125 bp    cRNA    linear   VRL 22-APR-2010\n", "cRNA"),
    ],
)
def test_locus_layouts(tmp_path: Path, line: str, molecule: str) -> None:
    (record,) = read(tmp_path, flat(locus=line))
    assert isinstance(record, Record)
    assert record.molecule.value == molecule


AA = "LOCUS       NP_1         125 aa            linear   VRT 11-APR-2002\n"
RC = "LOCUS       GHGH01       125 rc    RNA     linear   TSA 02-APR-2019\n"
LONG = "".join(f"            line {i} of a comment\n" for i in range(3000))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (flat("X", locus=locus("X", rest="        linear")), "no molecule type in LOCUS"),
        (flat("X", locus="LOCUS       X    125 bp\n"), "no molecule type in LOCUS"),
        (flat("X", locus="LOCUS  X 125 bp  BCT 11-OCT-2001\n"), "no molecule type in LOCUS"),
        (flat("X", locus=locus("X", rest="xDNA   linear")), "unknown molecule type in LOCUS"),
        (flat("X", locus=AA), "protein record in a file of nucleic acids"),
        (flat("X", locus=RC, origin=""), "no sequence in the record"),
        (flat("X", origin=""), "no sequence in the record"),
        (flat("X", origin="CONTIG      join(A.1:1..125)\n"), "no sequence in the record"),
        (flat("X", origin="ORIGIN\n"), "no sequence in the record"),
        (flat("X", origin="ORIGIN\n        1 \n"), "no sequence in the record"),
        (flat("X", locus="LOCUS       X    bp    DNA  linear\n"), "malformed LOCUS line"),
        (flat("X", locus="LOCUS\n"), "malformed LOCUS line"),
        (flat("X", locus="LOCUSX 125 bp DNA\n"), "malformed LOCUS line"),
        (flat("X", locus=locus("X", 126)), "sequence length differs from LOCUS"),
        (flat("X", end=""), "no // at the end of the record"),
        (flat("X", locus="LOKUS  X\n"), "no LOCUS line"),
        ("some stray text\nof two lines\n", "text outside any record"),
    ],
)
def test_a_bad_record_is_listed_and_the_others_kept(tmp_path: Path, text: str, reason: str) -> None:
    records = read(tmp_path, flat("A") + text + flat("B"))
    assert [r.id for r in records if isinstance(r, Record)] == ["A.1", "B.1"]
    (bad,) = (r for r in records if isinstance(r, BadRecord))
    assert bad.reason == reason
    assert bad.line == flat("A").count("\n") + 1
    assert bad.record == ("X.1" if text.startswith("LOCUS") else "")


def test_a_damaged_first_record_is_no_release_header(tmp_path: Path) -> None:
    records = read(tmp_path, flat("A", locus="LOKUS  A\n") + flat("B"))
    assert [type(r) for r in records] == [BadRecord, Record]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [("", None), ("\n \n", None), ("\nstray\n", "text outside any record")],
)
def test_end_of_file(tmp_path: Path, tail: str, reason: str | None) -> None:
    records = read(tmp_path, flat("A").rstrip("\n") + tail)
    assert [r.id for r in records if isinstance(r, Record)] == ["A.1"]
    assert [r.reason for r in records if isinstance(r, BadRecord)] == ([reason] if reason else [])


def test_a_file_of_something_else(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, ">a\nACGT\n>b\nACGT\n")
    assert isinstance(bad, BadRecord)
    assert bad.reason == "no LOCUS line"


def test_damage_in_the_annotation_does_not_cost_the_sequence(tmp_path: Path) -> None:
    head = 'FEATURES   \xe9\n     CDS   5.12\n\t/product "no closing quote\n' + LONG
    (record,) = read(tmp_path, flat(head=head))
    assert isinstance(record, Record)
    assert record.sequence[:].decode() == SEQUENCE


def test_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    content = gzip.compress("".join(flat(f"R{i}", head=LONG) for i in range(30)).encode(), 1)
    *whole, last = read(tmp_path, content[: int(len(content) * 0.9)], "x.gb.gz")
    assert len(whole) > 20
    assert all(isinstance(r, Record) for r in whole)
    assert isinstance(last, BadRecord)
    assert last.reason == "truncated gzip"
    assert last.line == len(whole) * flat(head=LONG).count("\n") + 1


@given(
    parts=st.lists(
        st.sampled_from(
            [flat("A"), flat("B", end=""), "junk\n", "//\n", "\n", "LOCUS\n", origin(), locus()]
        ),
        max_size=8,
    ),
    size=st.integers(1, 700),
)
def test_blocks_of_any_size_give_the_same_records(parts: list[str], size: int) -> None:
    text = "".join(parts).encode()
    blocks = [text[i : i + size] for i in range(0, len(text), size)]

    def plain(records: list[FlatRecord]) -> list[tuple[object, ...]]:
        return [(r.line, r.sequence, r.problem) for r in records]

    cut = plain(list(cut_records(blocks)))
    assert cut == plain(list(cut_records([text])))
    lines = text.split(b"\n")
    for line, _, problem in cut:
        assert isinstance(line, int)
        assert lines[line - 1].startswith(b"LOCUS") == (
            problem not in ("text outside any record", "no LOCUS line")
        )


@given(text=st.binary(max_size=400), at=st.integers(0, 2000))
def test_any_damage_ends_without_an_error(text: bytes, at: int) -> None:
    whole = (flat("A") + flat("B")).encode()
    with tempfile.TemporaryDirectory() as folder:
        records = read(Path(folder), whole[:at] + text + whole[at:])
    assert len(records) <= len(whole + text)


def test_a_chromosome_costs_the_memory_of_its_letters(tmp_path: Path) -> None:
    line = b"        1 " + b" ".join([b"acgtacgtac"] * 6) + b"\n"
    path = tmp_path / "x.gb"
    with path.open("wb") as out:
        out.write(locus("BIG", 60 * 400_000).encode() + b"ORIGIN\n")
        out.write(line * 400_000)
        out.write(b"//\n")
    (record,) = read_genbank(path)
    assert isinstance(record, Record)
    assert len(record.sequence) == 24_000_000
    assert record.sequence[:60] == b"acgtacgtac" * 6


def biopython_records(text: bytes) -> dict[str, bytes]:
    """Sequences by id of the nucleic records that Biopython reads before it fails."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stream = io.StringIO(text.decode("latin-1"))
            for record in SeqIO.parse(stream, "genbank"):
                if record.seq.defined and record.annotations.get("molecule_type") != "protein":
                    name = record.name if record.id in (".", "unknown") else record.id
                    found[str(name)] = bytes(record.seq)
        except ValueError:
            pass  # what it read before counts
    return found


def test_every_real_record_reads_as_biopython_and_gb_io_read_it(real_data: Path) -> None:
    biopython_compared = gb_io_compared = 0
    only_theirs: set[str] = set()
    for path in sorted((real_data / "genbank").glob("*/*.gz")):
        read_here = {r.id: r.sequence for r in read_genbank(path) if isinstance(r, Record)}
        text = gzip.decompress(path.read_bytes())
        theirs = biopython_records(text)
        only_theirs |= theirs.keys() - read_here.keys()
        for name in theirs.keys() & read_here.keys():
            biopython_compared += 1
            assert read_here[name][:].upper() == theirs[name].upper(), f"{path}: {name}"
        try:
            parsed = [(str(r.version).split()[0], r) for r in gb_io.iter(io.BytesIO(text))]
        except RuntimeError:
            continue  # damaged files: our cutter is there because it stops at the first fault
        for name, record in parsed:
            if name in read_here:
                gb_io_compared += 1
                assert read_here[name][:].upper() == bytes(record.sequence).upper(), (
                    f"{path}: {name}"
                )
    assert only_theirs == {"NO_SV_NUMBER", "AB070938.1"}  # shorter than LOCUS says, and no //
    assert biopython_compared == 188
    assert gb_io_compared > 150


EXPECTED_LEDGER = {
    ("BAB68554.gb.gz", 1): "protein record in a file of nucleic acids",
    ("NC_000007-ribosomal-slippage.gb.gz", 1): "no sequence in the record",
    ("blank_seq.gb.gz", 1): "protein record in a file of nucleic acids",
    ("no_end_marker.gb.gz", 1): "no // at the end of the record",
    ("no_origin_no_end.gb.gz", 1): "no // at the end of the record",
    ("protein_refseq.gb.gz", 1): "protein record in a file of nucleic acids",
    ("revcomp_mrna.gb.gz", 1): "sequence length differs from LOCUS",
    ("test.genbank.gz", 148): "sequence length differs from LOCUS",
    ("tsa_acropora.gb.gz", 1): "no sequence in the record",
}


def test_awkward_files_lose_the_bad_records_and_nothing_else(real_data: Path) -> None:
    bad: dict[tuple[str, int], str] = {}
    kept = 0
    for path in sorted((real_data / "genbank/awkward").iterdir()):
        for record in read_genbank(path):
            if isinstance(record, Record):
                kept += 1
            else:
                bad[path.name, record.line] = record.reason
    assert bad == EXPECTED_LEDGER
    assert kept == 11


def test_reading_does_not_depend_on_the_block_size(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real_data / "genbank/molecule_types/ls_orchid.gbk.gz"
    whole = list(read_genbank(path))
    monkeypatch.setattr(biote.corpora.blocks, "BLOCK_BYTES", 1013)
    assert list(read_genbank(path)) == whole
    assert len(whole) == 94
