from __future__ import annotations

import pytest
import torch

from biote.baselines.separation import separation_frequencies, separation_scores
from biote.errors import DataError
from biote.tasks.pairs import ResiduePairs


def pairs_of(separations: list[int], contacts: list[bool]) -> ResiduePairs:
    first = torch.zeros(len(separations), dtype=torch.int64)
    return ResiduePairs(
        first=first, second=torch.tensor(separations).long(), contacts=torch.tensor(contacts).bool()
    )


def test_shares_are_pooled_over_proteins_and_hold_beyond_what_was_seen() -> None:
    one = pairs_of([12, 12, 13], [True, False, False])
    other = pairs_of([12, 15, 15, 15, 15], [True, True, False, False, False])
    frequencies = separation_frequencies([one, pairs_of([], []), other])
    scores = separation_scores(frequencies, torch.tensor([12, 13, 14, 15, 99]))
    assert scores.tolist() == pytest.approx([2 / 3, 0.0, 0.0, 0.25, 0.25])


def test_nothing_to_count_is_refused() -> None:
    with pytest.raises(DataError, match="no labelled pair"):
        separation_frequencies([pairs_of([], [])])
