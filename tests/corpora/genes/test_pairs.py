from __future__ import annotations

import gzip
import io
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from Bio import SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st

from biote.corpora.genes import pairs as module
from biote.corpora.genes.counts import PairCounts
from biote.corpora.genes.pairs import Pair, read_pairs
from biote.corpora.genes.reasons import Reason
from biote.corpora.records import BadRecord
from biote.molecules import Molecule, canonical_sequence, reverse_complement

WriteRecord = Callable[..., str]

# ccATGGC gtaag TTGGTAAc: bases 3 to 7 and 13 to 19 code M A W and a stop.
LETTERS = "CCATGGCGTAAGTTGGTAAC"
GENE = "ATGGCGTAAGTTGGTAA"
SPLICED = "join(3..7,13..19)"
MAW = '/translation="MAW"'


def read(folder: Path, text: str) -> tuple[list[Pair | BadRecord], PairCounts]:
    path = folder / "x.gb"
    path.write_text(text)
    counts = PairCounts()
    found = list(read_pairs(path, counts))
    kept = [pair for pair in found if isinstance(pair, Pair)]
    assert counts.pairs == len(kept)
    assert counts.with_introns == sum(pair.exons > 1 for pair in kept)
    assert counts.coding_features == counts.pairs + counts.skipped.total
    assert len(found) == len(kept) + counts.skipped.total + counts.bad_records.total
    return found, counts


def test_a_spliced_gene(tmp_path: Path, write_record: WriteRecord) -> None:
    feature = f'{SPLICED} /gene="g" /locus_tag="t 1" /protein_id="P.1" {MAW}'
    (pair,), counts = read(tmp_path, write_record(LETTERS, feature))
    assert pair == Pair(
        pair_id="R.1|t 1|P.1|2-19|+",
        record_id="R.1",
        record_length=20,
        gene="g",
        locus_tag="t 1",
        protein_id="P.1",
        organism="Zea mays",
        taxonomy_id=4577,
        molecule="DNA",
        strand=1,
        start=2,
        end=19,
        exons=2,
        coding_length=12,
        gene_sequence=GENE,
        protein_sequence="MAW",
        source=str(tmp_path / "x.gb"),
    )
    assert counts.records == 1


TURNED = reverse_complement(LETTERS)
CIRCLE = LETTERS[5:] + LETTERS[:5]  # bases 3 to 7 are now 18 to 20 and 1 to 2
CIRCLE_TURNED = reverse_complement(CIRCLE)


@pytest.mark.parametrize(
    ("letters", "location", "topology", "place"),
    [
        (LETTERS, f"order{SPLICED[4:]}", "linear", (2, 19, 1, 2)),
        (LETTERS, "join(3..7,10^11,13,14..19)", "linear", (2, 19, 1, 2)),
        (TURNED, "complement(join(2..8,14..18))", "linear", (1, 18, -1, 2)),
        (TURNED, "join(complement(14..18),complement(2..8))", "linear", (1, 18, -1, 2)),
        (CIRCLE, "join(18..20,1..2,8..14)", "circular", (17, 34, 1, 2)),
        (CIRCLE, "join(18..2,8..14)", "circular", (17, 34, 1, 2)),
        (CIRCLE_TURNED, "complement(join(7..13,19..20,1..3))", "circular", (6, 23, -1, 2)),
        (LETTERS.replace("T", "U"), SPLICED, "linear", (2, 19, 1, 2)),
        (LETTERS + "--.!", SPLICED, "linear", (2, 19, 1, 2)),
    ],
)
def test_every_way_to_write_a_gene(
    tmp_path: Path,
    write_record: WriteRecord,
    letters: str,
    location: str,
    topology: str,
    place: tuple[int, int, int, int],
) -> None:
    text = write_record(letters, f"{location} {MAW}", topology=topology)
    (pair,), _ = read(tmp_path, text)
    assert isinstance(pair, Pair)
    assert (pair.start, pair.end, pair.strand, pair.exons) == place
    assert (pair.gene_sequence, pair.protein_sequence) == (GENE, "MAW")
    assert pair.pair_id == f"R.1|{place[0]}-{place[1]}|{'+' if place[2] > 0 else '-'}"
    assert (pair.gene, pair.locus_tag, pair.protein_id) == (None, None, None)


ONE = "ATGGCTTGGTAA"


@pytest.mark.parametrize(
    ("letters", "feature", "protein"),
    [
        (ONE, "1..12 /translation='MAW'".replace("'", '"'), "MAW"),
        (ONE, '1..12 /codon_start=1 /transl_table=11 /translation="maw*"', "MAW"),
        (ONE, '1..12 /translation="M\n                     AW"', "MAW"),
        ("TTG" + ONE[3:], '1..12 /transl_table=11 /translation="MAW"', "MAW"),
        ("ATGTGATAA", '1..9 /transl_table=4 /translation="MW"', "MW"),
        ("ATGTGATAA", '1..9 /transl_except=(pos:4..6,aa:Sec) /translation="MU"', "MU"),
        ("ATGTAGTAA", '1..9 /transl_except=(pos:4..6,aa:Pyl) /translation="MO"', "MO"),
        ("ATGGCTTAA", '1..9 /transl_except=(pos:4..6,aa:OTHER) /translation="MX"', "MX"),
        ("GTGGCTTAA", '1..9 /transl_except=(pos:1..3,aa:Met) /translation="MA"', "MA"),
        (
            "GTGGCTTAA/",
            '1..9 /transl_except=(pos:1..3,aa:Met)\n                      /translation="MA"',
            "MA",
        ),
        ("ATGGCTTA", '1..8 /transl_except=(pos:7..8,aa:TERM) /translation="MA"', "MA"),
        ("ATGGCTT", '1..7 /transl_except=(pos:7,aa:TERM) /translation="MA"', "MA"),
        (
            reverse_complement("ATGTGATAA"),
            'complement(1..9) /transl_except=(pos:complement(4..6),aa:Sec) /translation="MU"',
            "MU",
        ),
        (
            "ATGTGGGGGATAA",
            'join(1..4,9..13) /transl_except=(pos:join(4,9..10),aa:Sec) /translation="MU"',
            "MU",
        ),
        ("ATGATHTAA", '1..9 /translation="MI"', "MI"),
        ("ATGNNNTAA", '1..9 /translation="MX"', "MX"),
        ("ATGMTTTAA", '1..9 /translation="MJ"', "MX"),
    ],
)
def test_genetic_code_and_its_exceptions(
    tmp_path: Path, write_record: WriteRecord, letters: str, feature: str, protein: str
) -> None:
    (pair,), _ = read(tmp_path, write_record(letters.removesuffix("/"), feature))
    assert isinstance(pair, Pair)
    assert pair.protein_sequence == protein


@pytest.mark.parametrize(
    ("feature", "reason", "detail"),
    [
        (f"{SPLICED} /pseudo {MAW}", Reason.PSEUDOGENE, ""),
        (f'{SPLICED} /pseudogene="unknown" {MAW}', Reason.PSEUDOGENE, "unknown"),
        (f"{SPLICED} /pseudo", Reason.PSEUDOGENE, ""),
        (f"{SPLICED} /trans_splicing {MAW}", Reason.TRANS_SPLICED, ""),
        (f"join(3..7,complement(13..19)) {MAW}", Reason.TRANS_SPLICED, "parts on both strands"),
        (f"{SPLICED} /ribosomal_slippage {MAW}", Reason.SLIPPAGE, ""),
        (f'{SPLICED} /exception="RNA editing" {MAW}', Reason.EXCEPTION, "RNA editing"),
        (f'{SPLICED} /gene="g"', Reason.NO_TRANSLATION, ""),
        (f'{SPLICED} /translation=""', Reason.NO_TRANSLATION, ""),
        (f'{SPLICED} /translation="*"', Reason.NO_TRANSLATION, ""),
        (f"J00194.1:1..10 {MAW}", Reason.REMOTE, ""),
        (f"join(3..7,J00194.1:1..10) {MAW}", Reason.REMOTE, ""),
        (f"join(<3..7,13..19) {MAW}", Reason.PARTIAL, ""),
        (f"join(3..7,13..>19) {MAW}", Reason.PARTIAL, ""),
        (f"<3 {MAW}", Reason.PARTIAL, ""),
        (f"{SPLICED} /codon_start=2 {MAW}", Reason.PARTIAL, "codon_start 2"),
        (f"one-of(3,5)..19 {MAW}", Reason.UNCERTAIN, ""),
        (f"(3.5)..19 {MAW}", Reason.UNCERTAIN, ""),
        (f"3.19 {MAW}", Reason.UNCERTAIN, ""),
        (f"3^4 {MAW}", Reason.UNCERTAIN, "no base"),
        (f"3..21 {MAW}", Reason.BEYOND, "3..21 of 20 bases"),
        (f"complement(-2..9) {MAW}", Reason.BEYOND, "-2..9 of 20 bases"),
        (f"join(13..19,3..7) {MAW}", Reason.DISORDER, ""),
        (f"join(3..7,7..19) {MAW}", Reason.FRAMESHIFT, "bases read twice: 1"),
        (f"join(3..7,10..19) {MAW}", Reason.FRAMESHIFT, "bases left out: 2"),
        (f'{SPLICED} /translation="MA-W"', Reason.PROTEIN_LETTER, "gap '-' at position 3"),
        (f"{SPLICED} /transl_table=7 {MAW}", Reason.UNKNOWN_CODE, "translation table 7"),
        (f"{SPLICED} /transl_table=xi {MAW}", Reason.UNKNOWN_CODE, "translation table xi"),
        (f'{SPLICED} /translation="MAWWW"', Reason.LENGTH, "12 coding bases, 5 residues"),
        (f"3..19 {MAW}", Reason.LENGTH, "17 coding bases, 3 residues"),
        (f'{SPLICED} /translation="MCW"', Reason.DIFFERENT, "2 of 3 residues agree"),
        (
            f'{SPLICED} /transl_except=(pos:7,aa:Cys) /translation="MCW"',
            Reason.DIFFERENT,
            "2 of 3",
        ),
        (f"complement{SPLICED[4:]} {MAW}", Reason.UNCERTAIN, ""),
        (f'{SPLICED} {MAW} /note="not closed', Reason.DAMAGED, "quotation marks"),
    ],
)
def test_what_gives_no_pair(
    tmp_path: Path, write_record: WriteRecord, feature: str, reason: Reason, detail: str
) -> None:
    whole = f'{SPLICED} /locus_tag="t" {MAW}'
    text = write_record(LETTERS, feature) + write_record(LETTERS, whole, name="S")
    (bad, pair), counts = read(tmp_path, text)
    assert isinstance(pair, Pair)
    assert pair.record_id == "S.1"
    assert isinstance(bad, BadRecord)
    assert (bad.reason, bad.record, bad.line) == (reason, "R.1", 10)
    assert bad.detail.startswith("CDS " + feature.split(" /")[0].strip())
    assert detail in bad.detail
    assert counts.skipped.numbers == {reason: 1}
    assert counts.skipped.first == {reason: bad}


def test_a_letter_outside_the_alphabet_costs_only_its_genes(
    tmp_path: Path, write_record: WriteRecord
) -> None:
    letters = ONE + "ATG-CTTAA"
    features = (f"1..12 {MAW}", '13..21 /locus_tag="t" /translation="MA"')
    (pair, bad), _ = read(tmp_path, write_record(letters, *features))
    assert isinstance(pair, Pair)
    assert isinstance(bad, BadRecord)
    assert bad.reason == Reason.GENE_LETTER
    assert bad.detail.startswith("CDS 13..21 of t: gap '-' at position 4")


def test_transcripts_of_one_gene_are_kept_where_they_differ(
    tmp_path: Path, write_record: WriteRecord
) -> None:
    features = (
        f'{SPLICED} /protein_id="P.1" {MAW}',
        f'{SPLICED} /protein_id="P.2" {MAW}',
        '3..11 /protein_id="P.3" /translation="MA"',
        'complement(3..19) /protein_id="P.4" /translation="LPTLR"',
    )
    text = write_record(LETTERS, *features)
    found, counts = read(tmp_path, text + text.replace("R.1", "S.1"))
    names = [pair.protein_id for pair in found if isinstance(pair, Pair)]
    assert names == ["P.1", "P.3", "P.1", "P.3"]
    assert counts.skipped.numbers == {Reason.REPEATED: 2, Reason.LENGTH: 2}


def test_a_record_that_cannot_be_used_lists_its_genes(
    tmp_path: Path, write_record: WriteRecord
) -> None:
    features = (f'{SPLICED} /locus_tag="t" {MAW}', "1..3")
    text = write_record(LETTERS, *features, origin=False) + write_record(LETTERS, features[0])
    (record, first, second, pair), counts = read(tmp_path, text)
    assert [bad.reason for bad in (record, first, second) if isinstance(bad, BadRecord)] == [
        "no sequence in the record"
    ] * 3
    assert isinstance(record, BadRecord)
    assert isinstance(first, BadRecord)
    assert (record.line, first.line) == (1, 10)
    assert first.detail == f"CDS {SPLICED}"
    assert isinstance(pair, Pair)
    assert counts.records == 2
    assert counts.bad_records.numbers == {"no sequence in the record": 1}
    assert counts.skipped.numbers == {"no sequence in the record": 2}


def test_organism_and_molecule(tmp_path: Path, write_record: WriteRecord) -> None:
    feature = f"1..12 {MAW}"
    text = write_record(ONE, feature, source=(), molecule="mRNA")
    text += write_record(ONE, feature, source=('db_xref="BOLD:1"', 'db_xref="taxon:9"'))
    text += write_record(ONE, feature, source=()).replace("  ORGANISM  Zea mays mays\n", "")
    pairs = [pair for pair in read(tmp_path, text)[0] if isinstance(pair, Pair)]
    assert [(pair.organism, pair.taxonomy_id, pair.molecule) for pair in pairs] == [
        ("Zea mays mays", None, "mRNA"),
        ("Zea mays mays", 9, "DNA"),
        (None, None, "DNA"),
    ]


def test_a_locus_line_that_gb_io_passes_over(tmp_path: Path, write_record: WriteRecord) -> None:
    feature = "join(10..12,1..9) " + MAW
    letters = ONE[3:] + ONE[:3]
    text = write_record(letters, feature)
    locus = "LOCUS       my circular plasmid 12 bp ds-dna linear\n"
    (bad,), _ = read(tmp_path, locus + text.partition("\n")[2])
    assert isinstance(bad, BadRecord)
    assert bad.reason == Reason.DISORDER
    (pair,), _ = read(tmp_path, locus.replace("linear", "Circular") + text.partition("\n")[2])
    assert isinstance(pair, Pair)
    assert pair.gene_sequence == ONE


def test_files_without_records(tmp_path: Path, write_record: WriteRecord) -> None:
    for text, reason in (("", "no record in the file"), (">a\nACGT\n", "no LOCUS line")):
        (bad,), counts = read(tmp_path, text)
        assert isinstance(bad, BadRecord)
        assert bad.reason == reason
        assert counts.records == 0


def test_a_truncated_file_keeps_what_came_before(tmp_path: Path, write_record: WriteRecord) -> None:
    text = write_record(LETTERS, f"{SPLICED} {MAW}")
    (pair, record, feature), _ = read(tmp_path, text + text[:-40])
    assert isinstance(pair, Pair)
    assert isinstance(record, BadRecord)
    assert isinstance(feature, BadRecord)
    assert record.reason == feature.reason == "no // at the end of the record"


def test_a_feature_table_too_long_is_said(
    tmp_path: Path, write_record: WriteRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write_record(LETTERS, f"{SPLICED} {MAW}")
    monkeypatch.setattr(module, "HEAD_BYTES", 300)
    (bad, *_), counts = read(tmp_path, text)
    assert isinstance(bad, BadRecord)
    assert (bad.reason, bad.record) == ("feature table too long", "R.1")
    assert counts.pairs == 0


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    edits=st.lists(
        st.sampled_from(
            [
                "",
                "\n",
                '"',
                "/",
                "(",
                ")",
                "..",
                "<",
                ">",
                "^",
                ",",
                "=",
                " ",
                "\0",
                "\xe9",
                "join(",
                "complement(",
                "order(",
                "gap(5)",
                "one-of(",
                "7",
                "0",
                "9" * 25,
                "-",
                "//\n",
                "ORIGIN\n",
                "LOCUS ",
                "FEATURES",
                "     CDS             ",
                "A.1:",
                "*",
                "\r",
                "\t",
            ]
        ),
        max_size=8,
    ),
)
def test_damage_never_stops_the_reading(
    write_record: WriteRecord, seed: int, edits: list[str]
) -> None:
    drawn = random.Random(seed)
    features = (
        f'{SPLICED} /gene="g" {MAW}',
        '1..9 /transl_table=11 /transl_except=(pos:4..6,aa:Sec) /translation="MU"',
        f"join(18..20,1..2) {MAW}",
    )
    text = write_record(LETTERS, *features, topology="circular") + write_record(
        LETTERS, f"{SPLICED} {MAW}", name="S"
    )
    for edit in edits:
        at = drawn.randrange(len(text))
        text = text[:at] + edit + text[at + drawn.choice([0, 1, 5]) :]
    with tempfile.TemporaryDirectory() as folder:
        found, counts = read(Path(folder), text)
    assert counts.coding_features <= text.count("CDS")
    for pair in found:
        if isinstance(pair, Pair):
            assert len(pair.gene_sequence) == pair.end - pair.start >= pair.coding_length


def biopython_features(path: Path) -> list[tuple[Any, Any]] | None:
    """Records and coding features in order, or None where Biopython fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = io.StringIO(gzip.decompress(path.read_bytes()).decode("latin-1"))
        try:
            records = list(SeqIO.parse(stream, "genbank"))
        except ValueError:
            return None
    return [
        (record, feature)
        for record in records
        for feature in record.features
        if feature.type == "CDS"
    ]


def test_real_files_as_biopython_reads_them(real_data: Path) -> None:
    compared = features = 0
    total = PairCounts()
    failed = set()
    for path in sorted((real_data / "genbank").glob("*/*.gz")):
        counts = PairCounts()
        found = [
            each
            for each in read_pairs(path, counts)
            if isinstance(each, Pair) or each.detail.startswith("CDS")
        ]
        total.add(counts)
        theirs = biopython_features(path)
        if theirs is None:
            failed.add(path.name)
            continue
        assert len(found) == len(theirs) == counts.coding_features, path
        features += len(theirs)
        for pair, (record, feature) in zip(found, theirs, strict=True):
            if isinstance(pair, BadRecord):
                continue
            compared += 1
            coding = str(feature.extract(record.seq))
            protein = feature.qualifiers["translation"][0].rstrip("*")
            assert (pair.protein_sequence, pair.strand) == (protein, feature.location.strand)
            assert pair.coding_length == len(coding), pair.pair_id
            assert pair.record_id in (record.id, record.name)
            span = record.seq[pair.start : pair.end]
            if pair.end > len(record):
                span += record.seq[: pair.end - len(record)]
            else:
                assert pair.start == feature.location.start
                assert pair.end == feature.location.end
            letters = str(span if pair.strand > 0 else span.reverse_complement())
            assert pair.gene_sequence == canonical_sequence(letters, Molecule.DNA)
            if pair.exons == 1:
                assert pair.gene_sequence == canonical_sequence(coding, Molecule.DNA)
    assert failed == {"invalid_product.gb.gz", "no_origin_no_end.gb.gz", "test.genbank.gz"}
    assert (compared, total.pairs) == (12_664, 12_666)
    assert (features, total.coding_features) == (14_438, 14_441)
    assert total.with_introns == 101
    assert total.skipped.numbers == {
        "no sequence in the record": 1608,
        Reason.PSEUDOGENE: 81,
        Reason.EXCEPTION: 31,
        Reason.PARTIAL: 16,
        Reason.SLIPPAGE: 15,
        Reason.REPEATED: 6,
        Reason.REMOTE: 5,
        Reason.NO_TRANSLATION: 3,
        "protein record in a file of nucleic acids": 3,
        "sequence length differs from LOCUS": 3,
        Reason.TRANS_SPLICED: 2,
        Reason.DAMAGED: 1,
        Reason.BEYOND: 1,
    }
