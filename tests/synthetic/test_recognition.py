from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.synthetic.recognition import (
    BASES,
    RECOGNITION_RESIDUES,
    SITE_LENGTH,
    best_site,
    binding_energy,
    find_recognition_residues,
    penalties,
    site_penalty,
    with_domain,
)

_RESIDUES = st.text(alphabet=RECOGNITION_RESIDUES, min_size=SITE_LENGTH, max_size=SITE_LENGTH)


@given(_RESIDUES, st.text(alphabet=BASES, max_size=40))
def test_the_penalty_is_that_of_the_best_window(residues: str, strand: str) -> None:
    matrix = penalties(residues)
    windows = [strand[i : i + SITE_LENGTH] for i in range(len(strand) - SITE_LENGTH + 1)]
    slow = [sum(matrix[i, BASES.index(x)] for i, x in enumerate(window)) for window in windows]
    expected = min(slow, default=matrix.max(axis=1).sum())
    assert site_penalty(residues, [strand]) == pytest.approx(expected)
    assert site_penalty(residues, [strand, "AC" + best_site(residues)]) == 0


def test_the_code_names_one_base_for_each_residue() -> None:
    preferred = {r: best_site(r * SITE_LENGTH)[0] for r in RECOGNITION_RESIDUES}
    assert preferred == dict(N="A", Q="A", D="C", E="C", R="G", K="G", T="T", S="T")


def test_basic_residues_strengthen_binding() -> None:
    assert binding_energy("R" * 8, ["G" * 8]) < binding_energy("N" * 8, ["A" * 8])


def test_the_domain_can_be_read_from_the_protein() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        protein = with_domain("MAAAA", "RKNQDEST", rng=rng)
        assert protein.startswith("M")
        assert find_recognition_residues(protein) == "RKNQDEST"
    with pytest.raises(ValueError, match="no binding domain"):
        find_recognition_residues("MAAAA")
