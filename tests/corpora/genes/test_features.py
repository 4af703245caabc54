from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.genes.features import Feature, FeatureTable, UnreadFeature

HEAD = """LOCUS       X         100 bp    DNA     linear   UNK 01-JAN-2000
COMMENT     A comment may look like a feature:
     CDS             1..3
FEATURES             Location/Qualifiers
"""
INDENT = " " * 21


def table(text: str, encoding: str = "utf-8") -> FeatureTable:
    return FeatureTable((HEAD + text).encode(encoding), 11)


def coding(text: str, encoding: str = "utf-8") -> list[Feature | UnreadFeature]:
    return list(table(text, encoding).read("CDS"))


def one(text: str, encoding: str = "utf-8") -> Feature:
    (feature,) = coding(text, encoding)
    assert isinstance(feature, Feature)
    return feature


def cds(location: str, *qualifiers: str) -> str:
    lines = [f"     CDS             {location}", *(f"{INDENT}/{text}" for text in qualifiers)]
    return "\n".join(lines) + "\n"


def test_coding_features_with_their_lines_and_qualifiers() -> None:
    text = (
        "     source          1..100\n"
        f'{INDENT}/organism="Zea\n{INDENT}mays"\n'
        + cds("1..6", 'gene="a"', 'note="one', "pseudo", 'two"', "db_xref=1", "db_xref=2")
        .replace(f"{INDENT}/pseudo", f"{INDENT}/pseudo inside a text")
        .replace(f"{INDENT}/two", f"{INDENT}two")
        + "     gene            1..6\n"
        + cds("complement(join(1..3,\n" + INDENT + "5..9))", "pseudo")
        + "BASE COUNT  5 a\n"
    )
    first, second = coding(text)
    assert isinstance(first, Feature)
    assert isinstance(second, Feature)
    assert first.line == 18
    assert second.line == 26
    assert first.first("gene") == "a"
    assert first.first("note") == "one /pseudo inside a text two"
    assert first.first("product") == ""
    assert first.qualifiers["db_xref"] == ("1", "2")
    assert "pseudo" not in first.qualifiers
    assert second.qualifiers == {"pseudo": ("",)}
    assert second.text == "complement(join(1..3,5..9))"
    assert second.location is not None
    source = table(text).first("source")
    assert source is not None
    assert source.first("organism") == "Zea mays"
    assert table(text).first("tRNA") is None


@pytest.mark.parametrize(
    "location",
    [
        "1..20",
        "5",
        "5..5",
        "5^6",
        "100^1",
        "<1..>20",
        "complement(1..20)",
        "join(1..3,complement(5..9),12)",
        "order(1..3,5..9)",
        "20..5",
        "-2..5",
    ],
)
def test_locations_that_are_read(location: str) -> None:
    feature = one(cds(location, 'gene="a"'))
    assert feature.text == location
    assert feature.location is not None


@pytest.mark.parametrize(
    "location",
    [
        "1..x",
        "1.20",
        "(1.5)..20",
        "one-of(1,3)..20",
        "one-of(1,3)",
        "bond(1,4)",
        "join(1..3,(5.7)..9)",
        "J00194.1:1..10",
        "join(J00194.1:1..10,5..9)",
        "99999999999999999999..5",
        "1 .. 5x",
        "join(1..5",
        "1..5)",
        "<5",
        "gap(10)",
        "join(1..3,gap(5),9..12)",
        "-9223372036854775808..5",
    ],
)
def test_a_location_that_is_not_what_was_read_is_none(location: str) -> None:
    (feature,) = coding(cds(location, 'gene="a"'))
    assert feature.text == location.replace(" ", "")
    assert isinstance(feature, UnreadFeature) or feature.location is None


@pytest.mark.parametrize(
    "text",
    [
        cds("1..5", 'product="not closed'),
        cds("1..5", 'product="not closed', 'gene="b"'),
        cds("1..5").replace("CDS  ", "CDS\n"),
        cds("1..5", 'gene="a"').replace(INDENT, " " * 20),
        cds("1..5", 'gene="a"').replace(INDENT, " " * 23),
        cds("1..5", 'gene="a"').replace("     CDS", "   CDS"),
        cds("1..5", 'note="a') + 'b"\n',
        cds("join(" * 50_000 + "1..5" + ")" * 50_000),
    ],
)
def test_damage_costs_one_feature(text: str) -> None:
    features = coding(cds("1..3", 'gene="before"') + text + cds("5..9", 'gene="after"'))
    before, damaged, after = features
    assert isinstance(before, Feature)
    assert isinstance(after, Feature)
    assert (before.first("gene"), after.first("gene")) == ("before", "after")
    assert isinstance(damaged, UnreadFeature)
    assert damaged.problem
    assert damaged.line == 17


@pytest.mark.parametrize(
    "text",
    [
        cds("join(1..3,5..9)", 'gene="a"', "pseudo").replace("\n", "\r\n"),
        cds("join(1..3,5..9)", 'gene="a"', "pseudo").replace("\n", "  \n"),
        cds("join(1..3,5..9)", 'gene="a"', "pseudo").replace("\n", "\n\n"),
        cds("join(1..3,5..9)", 'gene="a"', "pseudo").replace(INDENT, "\t\t"),
        '\tCDS\tjoin(1..3,5..9)\n\t\t/gene="a"\n\t\t/pseudo\n',
        cds("join(1..3,5..9)", 'gene="a"', "pseudo") + "ORIGIN",
        cds("join(1..3,5..9)", 'gene="a"', "pseudo").rstrip(),
    ],
)
def test_unusual_spacing_changes_nothing(text: str) -> None:
    feature = one(text)
    assert feature.text == "join(1..3,5..9)"
    assert feature.location is not None
    assert feature.qualifiers == {"gene": ("a",), "pseudo": ("",)}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_letters_outside_ascii(encoding: str) -> None:
    assert one(cds("1..5", 'product="café"'), encoding).first("product") == "café"


def test_many_features_are_read_in_order() -> None:
    numbers = range(1, 1000)
    text = "".join(cds(f"{n}..{n + 2}", f"locus_tag=t{n}") for n in numbers)
    features = coding(text.replace(f"{INDENT}/locus_tag=t600", "    /locus_tag=t600"))
    tags = [f.first("locus_tag") if isinstance(f, Feature) else f.text for f in features]
    assert tags == [f"t{n}" if n != 600 else "600..602" for n in numbers]


def test_a_record_without_feature_table() -> None:
    assert list(FeatureTable(b"LOCUS       X\nDEFINITION  CDS\n", 1).read("CDS")) == []
    assert list(FeatureTable(b"", 1).read("CDS")) == []


@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "\n", '"', "/", "(", ")", "..", "<", "^", ",", "=", " ", "\0", "é", "\r", "\t",
                "join(", "complement(", "order(", "gap(", "one-of(", "7", "9" * 25, "-", "A.1:",
                INDENT, "     CDS             ", 'gene="a"', "translation=", "CDS", "\x0b", "\x85",
            ]
        ),
        max_size=30,
    )
)  # fmt: skip
def test_any_table_is_read(pieces: list[str]) -> None:
    text = cds("1..3", 'gene="a"') + "".join(pieces) + "\n" + cds("5..9", 'gene="b"')
    features = coding(text)
    assert len(features) == len(list(table(text).cut("CDS"))) >= 2
    assert features[-1].text == "5..9"
