from __future__ import annotations

import numpy as np
import pytest

from biote.errors import DataError
from biote.splits.containment import contained_scores
from biote.splits.homology import SIMILAR_ABOVE, best_scores


def protein(seed: int, length: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ARNDCQEGHILKMFPSTWYV"), length))


def test_a_domain_of_a_reference_is_found_where_the_global_score_misses_it() -> None:
    whole = protein(0, 600)
    domain, other = whole[250:330], protein(1, 80)
    scores = contained_scores([domain, other], [protein(2, 300), whole])
    assert scores[0] > 4.5
    assert scores[1] < SIMILAR_ABOVE
    assert best_scores([domain], [whole]).scores[0] < SIMILAR_ABOVE


def test_a_query_that_holds_a_reference_is_found() -> None:
    part = protein(3, 60)
    scores = contained_scores([protein(4, 60) + part + protein(5, 60)], [part])
    assert scores[0] > 4.5


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(DataError, match="no protein to compare with"):
        contained_scores(["MKV"], [])
    with pytest.raises(DataError, match="no residue to align"):
        contained_scores([""], ["MKV"])
