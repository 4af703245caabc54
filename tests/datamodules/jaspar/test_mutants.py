from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.jaspar.mutants import (
    changed_positions,
    draw_mutants,
    seeded,
    shuffled_site,
    single_substitutions,
)
from biote.errors import ConfigError
from biote.molecules import reverse_complement

SITES = st.text("ACGT", min_size=1, max_size=20)


@given(SITES, st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0]), st.integers(0, 2**32))
def test_mutants_differ_from_the_site_and_from_each_other(
    site: str, probability: float, seed: int
) -> None:
    mutants = draw_mutants(site, probability, 8, rng=seeded(seed, site))
    assert site not in mutants
    assert len(set(mutants)) == len(mutants)
    assert all(len(m) == len(site) and set(m) <= set("ACGT") for m in mutants)
    assert len(mutants) == min(8, 3 if len(site) == 1 else 8)
    if probability == 1:  # REFERENCE 6, 4: what is replaced is replaced by another base
        assert all(len(changed_positions(site, m)) == len(site) for m in mutants)


def test_every_other_base_comes_as_often_and_each_base_changes_with_its_probability() -> None:
    rng = np.random.default_rng(0)
    site, probability = "ACGTACGTAC" * 3, 0.25
    mutants = draw_mutants(site, probability, 4_000, rng=rng)
    changes = [(site[i], m[i]) for m in mutants for i in changed_positions(site, m)]
    # 30 bases all left alone: once in 5,600; the expected share is all but untouched by that.
    share = len(changes) / (len(site) * len(mutants))
    assert share == pytest.approx(probability, abs=0.005)
    counts = Counter(changes)
    assert all(before != after for before, after in counts)
    for base in "ACGT":
        of_base = [count for (before, _), count in counts.items() if before == base]
        assert len(of_base) == 3
        assert max(of_base) / min(of_base) < 1.15


def test_short_sites_have_fewer_mutants() -> None:
    assert sorted(draw_mutants("A", 0.05, 8, rng=seeded(0))) == ["C", "G", "T"]
    assert len(draw_mutants("AC", 0.5, 99, rng=seeded(0))) == 15
    assert len(draw_mutants("AC", 1.0, 99, rng=seeded(0))) == 9


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1])
def test_a_probability_is_one(probability: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.probabilities"):
        draw_mutants("ACGT", probability, 8, rng=seeded(0))


def test_what_is_drawn_depends_on_the_names_alone() -> None:
    drawn = {name: seeded(0, name).integers(2**62) for name in ("MA1.1", "MA2.1")}
    again = {name: seeded(0, name).integers(2**62) for name in ("MA2.1", "MA1.1")}
    assert drawn == again
    assert len({*drawn.values(), seeded(1, "MA1.1").integers(2**62)}) == 3


@given(SITES)
def test_single_substitutions_are_all_of_them(site: str) -> None:
    found = single_substitutions(site)
    assert len({mutant for _, _, mutant in found}) == len(found) == 3 * len(site)
    for position, base, mutant in found:
        assert changed_positions(site, mutant) == [position]
        assert mutant[position] == base


@given(SITES, st.integers(0, 100))
def test_a_shuffled_site_has_the_same_bases_and_is_another(site: str, seed: int) -> None:
    shuffled = shuffled_site(site, rng=seeded(seed))
    if shuffled is None:
        assert len(set(site)) == 1 or len(site) == 2
    else:
        assert sorted(shuffled) == sorted(site)
        assert shuffled not in (site, reverse_complement(site))
