from __future__ import annotations

import pytest
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.genes.genetic_codes import GENETIC_CODES
from biote.corpora.genes.reasons import Reason, Skip
from biote.corpora.genes.translation import check_translation, translate


def check(
    coding: str, protein: str, table: int = 1, exceptions: dict[int, str] | None = None
) -> Skip | None:
    return check_translation(
        coding.encode(), protein.encode(), table=table, exceptions=exceptions or {}
    )


@pytest.mark.filterwarnings("ignore:This table contains")
@given(
    coding=st.text("ACGTACGTACGTRYSWKMBDHVN", max_size=40),
    table=st.sampled_from(sorted(GENETIC_CODES)),
)
def test_codons_are_translated_as_by_biopython(coding: str, table: int) -> None:
    whole = coding[: len(coding) // 3 * 3]
    ours = translate(coding.encode(), GENETIC_CODES[table]).decode()
    theirs = str(Seq(whole).translate(table))
    assert len(ours) == len(theirs)
    for n, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        # Theirs knows of no codon that is a stop and a residue by turns, and calls one that may
        # be a stop or a residue X in some tables and ambiguous in others.
        dual = whole[3 * n : 3 * n + 3] in GENETIC_CODES[table].stops
        assert our == their or dual or "X" in (our, their), whole[3 * n : 3 * n + 3]


@pytest.mark.parametrize(
    ("codon", "residue"),
    [
        ("GCN", "A"),
        ("YTR", "L"),
        ("MGR", "R"),
        ("RAY", "B"),
        ("SAR", "Z"),
        ("HTN", "X"),
        ("WTA", "J"),
        ("TAR", "*"),
        ("TRA", "*"),
        ("TGR", "X"),
        ("NNN", "X"),
        ("A-G", "X"),
    ],
)
def test_ambiguous_codons(codon: str, residue: str) -> None:
    assert translate(codon.encode(), GENETIC_CODES[1]).decode() == residue


@pytest.mark.parametrize(
    ("coding", "protein", "table", "exceptions"),
    [
        ("ATGGCTTGGTAA", "MAW", 1, {}),
        ("ATGGCTTGG", "MAW", 1, {}),  # the stop codon left out
        ("TTGGCTTAA", "MA", 11, {}),  # alternative start
        ("TTGGCTTAA", "LA", 11, {}),  # the same codon for the residue it usually is
        ("ATGTGATAA", "MW", 4, {}),
        ("ATGTGATAA", "MU", 1, {}),
        ("ATGTAGTAA", "MO", 11, {}),
        ("ATGTGATAA", "MU", 1, {1: "U"}),
        ("GTGGCTTAA", "MA", 1, {0: "M"}),  # GTG is no start codon of code 1
        ("ATGGCTAAATAA", "MAX", 1, {2: "X"}),
        ("ATGGCTT", "MA", 2, {2: "*"}),  # the stop codon is completed in the messenger
        ("ATGGCTAGA", "MA", 2, {}),
        ("ATGTGATGA", "MW", 27, {}),  # TGA is W inside and a stop at the end
        ("ATGTGATGA", "MWW", 27, {}),
        ("ATGGCNRAYTAA", "MAB", 1, {}),
        ("ATGGCNRAYTAA", "MXX", 1, {}),
    ],
)
def test_proteins_that_fit(
    coding: str, protein: str, table: int, exceptions: dict[int, str]
) -> None:
    assert check(coding, protein, table, exceptions) is None


@pytest.mark.parametrize(
    ("coding", "protein", "table", "reason", "detail"),
    [
        ("ATGGCTTGGTAA", "MAC", 1, Reason.DIFFERENT, "2 of 3 residues agree; residue 3 is 'C'"),
        ("GTGGCTTAA", "MA", 1, Reason.DIFFERENT, "its codon gives 'V'"),
        ("ATGTGATAA", "MW", 1, Reason.DIFFERENT, "its codon gives '*'"),
        ("ATGGCTTAA", "MX", 1, Reason.DIFFERENT, "1 of 2 residues agree"),
        ("ATGRAYTAA", "MD", 1, Reason.DIFFERENT, "its codon gives 'B'"),
        ("ATGTAATAA", "MU", 1, Reason.DIFFERENT, "its codon gives '*'"),
        ("ATGGCTTGGTAA", "MA", 1, Reason.LENGTH, "12 coding bases, 2 residues"),
        ("ATGGCTTGG", "MA", 1, Reason.LENGTH, ""),  # the last codon is no stop
        ("ATGGCTTAATAA", "MA", 1, Reason.LENGTH, ""),
        ("ATGGCTTGGTAA", "MAWW*A", 1, Reason.LENGTH, ""),
        ("ATGGCTTGGTA", "MAW", 1, Reason.LENGTH, "11 coding bases"),
        ("AT", "M", 1, Reason.LENGTH, ""),
        ("ATG", "M", 7, Reason.UNKNOWN_CODE, "translation table 7"),
    ],
)
def test_proteins_that_do_not_fit(
    coding: str, protein: str, table: int, reason: Reason, detail: str
) -> None:
    skip = check(coding, protein, table)
    assert skip is not None
    assert skip.reason is reason
    assert detail in skip.detail


@given(
    coding=st.binary(max_size=12),
    protein=st.binary(max_size=5),
    table=st.integers(-1, 40),
    exceptions=st.dictionaries(st.integers(0, 6), st.sampled_from("UX*")),
)
def test_anything_is_answered(
    coding: bytes, protein: bytes, table: int, exceptions: dict[int, str]
) -> None:
    skip = check_translation(coding, protein, table=table, exceptions=exceptions)
    assert skip is None or skip.reason in (Reason.LENGTH, Reason.DIFFERENT, Reason.UNKNOWN_CODE)
