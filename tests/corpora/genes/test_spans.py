from __future__ import annotations

import io

import gb_io
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.genes.reasons import Reason, Skip
from biote.corpora.genes.spans import Span, find_span
from biote.molecules import reverse_complement

LENGTH = 100


def location(text: str) -> gb_io.Location:
    record = (
        "LOCUS       X 1 bp    DNA     linear   UNK 01-JAN-2000\n"
        f"FEATURES             Location/Qualifiers\n     CDS             {text}\n//\n"
    )
    return gb_io.load(io.BytesIO(record.encode()))[0].features[0].location


def span(text: str, *, circular: bool = False) -> Span:
    found = find_span(location(text), LENGTH, circular=circular)
    assert isinstance(found, Span)
    return found


@pytest.mark.parametrize(
    ("text", "expected", "exons"),
    [
        ("5..20", Span(4, 20, 1, ((0, 16),)), 1),
        ("complement(5..20)", Span(4, 20, -1, ((0, 16),)), 1),
        ("7", Span(6, 7, 1, ((0, 1),)), 1),
        ("1..100", Span(0, 100, 1, ((0, 100),)), 1),
        ("join(5..10,15,20..30)", Span(4, 30, 1, ((0, 6), (10, 11), (15, 26))), 3),
        ("join(5..10,11..30)", Span(4, 30, 1, ((0, 6), (6, 26))), 1),
        ("complement(join(5..10,20..30))", Span(4, 30, -1, ((0, 11), (20, 26))), 2),
        ("join(complement(20..30),complement(5..10))", Span(4, 30, -1, ((0, 11), (20, 26))), 2),
        ("order(5..10,20..30)", Span(4, 30, 1, ((0, 6), (15, 26))), 2),
        ("join(5..10,15^16,20..30)", Span(4, 30, 1, ((0, 6), (15, 26))), 2),
        ("complement(join(5..7,complement(complement(11))))", Span(4, 11, -1, ((0, 1), (4, 7))), 2),
    ],
)
def test_spans(text: str, expected: Span, exons: int) -> None:
    assert span(text) == expected
    assert span(text, circular=True) == expected
    assert expected.exons == exons


@pytest.mark.parametrize(
    ("text", "expected", "exons"),
    [
        ("join(91..100,1..20)", Span(90, 120, 1, ((0, 10), (10, 30))), 1),
        ("91..20", Span(90, 120, 1, ((0, 10), (10, 30))), 1),
        ("complement(join(91..100,1..20))", Span(90, 120, -1, ((0, 20), (20, 30))), 1),
        ("complement(91..20)", Span(90, 120, -1, ((0, 20), (20, 30))), 1),
        ("join(complement(1..20),complement(91..100))", Span(90, 120, -1, ((0, 20), (20, 30))), 1),
        ("join(91..100,6..20)", Span(90, 120, 1, ((0, 10), (15, 30))), 2),
        ("join(91..95,1..20)", Span(90, 120, 1, ((0, 5), (10, 30))), 2),
        ("complement(join(91..100,6..20))", Span(90, 120, -1, ((0, 15), (20, 30))), 2),
        ("join(80..85,91..100,1..20)", Span(79, 120, 1, ((0, 6), (11, 21), (21, 41))), 2),
        ("join(91..100,1..20,30..40)", Span(90, 140, 1, ((0, 10), (10, 30), (39, 50))), 2),
        ("51..50", Span(50, 150, 1, ((0, 50), (50, 100))), 1),
    ],
)
def test_spans_across_the_origin(text: str, expected: Span, exons: int) -> None:
    assert span(text, circular=True) == expected
    assert expected.exons == exons
    linear = find_span(location(text), LENGTH, circular=False)
    assert isinstance(linear, Skip)
    assert linear.reason is Reason.DISORDER


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("join(5..10,complement(20..30))", Reason.TRANS_SPLICED),
        ("5^6", Reason.UNCERTAIN),
        ("90..101", Reason.BEYOND),
        ("0..10", Reason.BEYOND),
        ("complement(-2..10)", Reason.BEYOND),
        ("join(90..100,101..110)", Reason.BEYOND),
        ("join(5..10,10..20)", Reason.FRAMESHIFT),
        ("join(5..10,9..20)", Reason.FRAMESHIFT),
        ("complement(join(5..10,10..20))", Reason.FRAMESHIFT),
        ("join(5..10,12..20)", Reason.FRAMESHIFT),
        ("join(5..10,13..20)", Reason.FRAMESHIFT),
        ("complement(join(5..10,12..20))", Reason.FRAMESHIFT),
        ("join(50..60,30..40,10..20)", Reason.DISORDER),
    ],
)
def test_locations_without_a_span(text: str, reason: Reason, circular: bool) -> None:
    found = find_span(location(text), LENGTH, circular=circular)
    assert isinstance(found, Skip)
    assert found.reason is reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("join(91..95,6..20)", Reason.DISORDER),  # the origin in an intron, or a wrong order
        ("join(91..99,2..20)", Reason.DISORDER),
        ("complement(join(91..95,6..20))", Reason.DISORDER),
        ("join(complement(6..20),complement(91..95))", Reason.DISORDER),
        ("join(30..40,90..100,60..70)", Reason.DISORDER),  # more than once round
        ("join(99..100,2..20)", Reason.FRAMESHIFT),
        ("join(91..100,1..20,80..95)", Reason.DISORDER),
        ("101..20", Reason.BEYOND),
        ("20..0", Reason.BEYOND),
    ],
)
def test_circular_locations_without_a_span(text: str, reason: Reason) -> None:
    found = find_span(location(text), LENGTH, circular=True)
    assert isinstance(found, Skip)
    assert found.reason is reason


def test_a_gap_of_three_bases_is_an_intron() -> None:
    assert span("join(5..10,14..20)").exons == 2


def test_letters_of_a_gene() -> None:
    letters = b"acgtuRYkmBDHVswn"
    plus = Span(2, 16, 1, ((0, 14),))
    assert plus.gene(letters) == b"GTTRYKMBDHVSWN"
    assert Span(2, 16, -1, ((0, 14),)).gene(letters) == b"NWSBDHVKMRYAAC"
    assert Span(14, 19, 1, ((0, 2), (2, 5))).gene(letters) == b"WNACG"
    assert Span(14, 19, -1, ((0, 3), (3, 5))).gene(letters) == b"CGTNW"
    assert plus.coding(b"ABCDEFGHIJKLMN") == b"ABCDEFGHIJKLMN"
    assert Span(0, 9, 1, ((0, 2), (5, 9))).coding(b"ABCDEFGHI") == b"ABFGHI"


@pytest.mark.parametrize(
    ("text", "position", "offset"),
    [
        ("join(5..10,20..30)", 4, 0),
        ("join(5..10,20..30)", 19, 6),
        ("join(5..10,20..30)", 12, None),
        ("join(5..10,20..30)", 30, None),
        ("complement(join(5..10,20..30))", 29, 0),
        ("complement(join(5..10,20..30))", 9, 11),
        ("join(91..100,1..20)", 0, 10),
        ("join(91..100,1..20)", 90, 0),
        ("complement(join(91..100,1..20))", 0, 19),
        ("complement(join(91..100,1..20))", 99, 20),
    ],
)
def test_place_of_a_base_in_the_coding_sequence(
    text: str, position: int, offset: int | None
) -> None:
    assert span(text, circular=True).coding_offset(position, LENGTH) == offset


@st.composite
def genes(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """Letters of a record and its exons, from 1, ends included; introns of 3 bases or more."""
    letters = draw(st.text("ACGTN", min_size=10, max_size=80))
    exons = []
    at = draw(st.integers(1, 5))
    while at <= len(letters):
        end = draw(st.integers(at, len(letters)))
        exons.append((at, end))
        at = end + draw(st.integers(4, 30))
        if draw(st.booleans()):
            break
    return letters, exons


def write(exons: list[tuple[int, int]]) -> str:
    ranges = ",".join(f"{start}..{end}" for start, end in exons)
    return f"join({ranges})" if len(exons) > 1 else ranges


@given(gene=genes())
def test_both_strands_give_the_same_gene(gene: tuple[str, list[tuple[int, int]]]) -> None:
    letters, exons = gene
    plus = find_span(location(write(exons)), len(letters), circular=False)
    assert isinstance(plus, Span)
    whole = letters[exons[0][0] - 1 : exons[-1][1]]
    coding = "".join(letters[start - 1 : end] for start, end in exons)
    assert plus.gene(letters.encode()).decode() == whole
    assert plus.coding(whole.encode()).decode() == coding
    turned = [(len(letters) + 1 - end, len(letters) + 1 - start) for start, end in exons]
    each = ",".join(f"complement({start}..{end})" for start, end in turned)
    for text in (f"complement({write(turned[::-1])})", f"join({each})"):
        minus = find_span(location(text), len(letters), circular=False)
        assert isinstance(minus, Span)
        assert (minus.strand, minus.parts) == (-1, plus.parts)
        assert minus.gene(reverse_complement(letters).encode()).decode() == whole


@given(gene=genes(), turn=st.integers(0, 79), minus=st.booleans())
def test_a_circular_record_may_begin_anywhere(
    gene: tuple[str, list[tuple[int, int]]], turn: int, minus: bool
) -> None:
    letters, exons = gene
    if minus:
        exons = [(len(letters) + 1 - end, len(letters) + 1 - start) for start, end in exons][::-1]
    template = "complement({})" if minus else "{}"
    expected = find_span(location(template.format(write(exons))), len(letters), circular=True)
    assert isinstance(expected, Span)
    turn %= len(letters)
    turned = letters[turn:] + letters[:turn]
    parts = []
    for start, end in exons:
        start, end = (start - 1 - turn) % len(letters) + 1, (end - 1 - turn) % len(letters) + 1
        parts += [(start, end)] if start <= end else [(start, len(letters)), (1, end)]
    found = find_span(location(template.format(write(parts))), len(letters), circular=True)
    bases = {base for start, end in parts for base in range(start, end + 1)}
    crosses = [start for start, _ in parts] != sorted(start for start, _ in parts)
    if crosses and not bases & {1, len(letters)}:
        assert isinstance(found, Skip)
        assert (found.reason, found.detail) == (Reason.DISORDER, "no part touches the origin")
        return
    assert isinstance(found, Span)
    assert found.gene(turned.encode()) == expected.gene(letters.encode())
    assert found.coding(found.gene(turned.encode())) == expected.coding(
        expected.gene(letters.encode())
    )
    assert (found.exons, found.strand) == (expected.exons, expected.strand)
    assert 0 <= found.start < len(letters)
