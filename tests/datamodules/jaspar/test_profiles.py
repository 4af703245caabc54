from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from biote.datamodules.jaspar.profiles import (
    BASES,
    Profile,
    format_profile,
    parse_profiles,
)
from biote.errors import DataError

TEXT = """>MA0001.2\tNAME::OTHER
A  [ 10  0  5  5 ]
C  [  0  0  5  5 ]
G  [  0 10  0  5 ]
T  [  0  0  0  5 ]
"""


def profile_of(counts: list[list[float]]) -> Profile:
    return Profile(base_id="MA1", version=1, name="X", counts=np.array(counts, np.float64))


def test_a_profile_is_read() -> None:
    (profile,) = parse_profiles(TEXT, source="x.jaspar")
    assert (profile.id, profile.base_id, profile.version) == ("MA0001.2", "MA0001", 2)
    assert profile.is_dimer
    assert profile.consensus == "AGAA"  # ties go to the first of A, C, G, T
    assert profile.tied_positions == [2, 3]
    np.testing.assert_allclose(profile.information_bits, [2, 2, 1, 0], atol=1e-12)


def test_palindromes() -> None:
    assert profile_of([[9, 0], [0, 0], [0, 0], [0, 9]]).is_palindrome
    assert not profile_of([[9, 9], [0, 0], [0, 0], [0, 0]]).is_palindrome


def test_log_odds_by_hand() -> None:
    profile = profile_of([[12], [4], [0], [0]])
    # 16 counts: a pseudocount of 1 to each base, so 13, 5, 1 and 1 of 20.
    expected = np.log2(np.array([13, 5, 1, 1]) / 20 / 0.25)
    np.testing.assert_allclose(profile.log_odds_bits[:, 0], expected)
    assert profile.score_bits("C") == pytest.approx(expected[1])
    with pytest.raises(ValueError, match="2 bases for a profile of 1"):
        profile.score_bits("CC")


@given(arrays(np.int64, st.tuples(st.just(4), st.integers(1, 12)), elements=st.integers(0, 50)))
def test_no_site_scores_above_the_consensus_and_writing_is_reading(
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> None:
    profile = profile_of((counts + (counts.sum(axis=0) == 0)).tolist())
    best = profile.score_bits(profile.consensus)
    for i in range(profile.length):
        for base in BASES:
            site = profile.consensus[:i] + base + profile.consensus[i + 1 :]
            assert profile.score_bits(site) <= best + 1e-9
    assert ((profile.information_bits >= 0) & (profile.information_bits <= 2)).all()
    (again,) = parse_profiles(format_profile(profile), source="written")
    np.testing.assert_array_equal(again.counts, profile.counts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A [ 1 ]\n", r"x:1: counts without a header"),
        (">MA0001\tNAME\n", r"x:1: no profile header"),
        (TEXT.replace("C  [", "G  ["), r"x:3: no counts of C"),
        (TEXT.replace("10  0  5  5", "10  0  5"), r"x:1: MA0001.2 has lines of different lengths"),
        (TEXT.replace("10 ", "-1 ", 1), r"x:2: no counts, or a negative one"),
        (TEXT.replace("10 ", "1O ", 1), r"x:2: a count that is no number"),
        (TEXT.replace("A  [ 10", "A  [  0"), r"a position without counts"),
        ("".join(TEXT.splitlines(keepends=True)[:3]), r"x:1: MA0001.2 ends before its four lines"),
        (TEXT[: TEXT.index("G")] + TEXT, r"x:1: MA0001.2 ends before its four lines"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_profiles(text, source="x")


def test_the_real_files(real_data: Path) -> None:
    from biote.datamodules.jaspar.database import read_database

    database = read_database(real_data / "jaspar")
    profiles = list(database.profiles.values())
    assert len(profiles) == 4_277
    assert sum(p.is_dimer for p in profiles) == 153
    assert sum(p.is_palindrome for p in profiles) == 319
    assert sum(bool(p.tied_positions) for p in profiles) == 139
    information = np.concatenate([p.information_bits for p in profiles])
    assert (information < 0.5).mean() == pytest.approx(0.246, abs=0.001)
    assert len(database.proteins) == 2_193  # one accession stands in two taxa
    assert sum(not protein.sequence for protein in database.proteins.values()) == 8
