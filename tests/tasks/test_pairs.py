from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biote.tasks.pairs import (
    Protein,
    best_scores,
    residue_pairs,
    residue_scores,
    token_targets,
)


@st.composite
def proteins(draw: st.DrawFn) -> Protein:
    """Proteins with tokens of one to three residues, trimmed and unresolved ends included."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    kept = draw(st.integers(0, len(sizes)))
    tokens = np.repeat(np.arange(len(sizes)), sizes)
    length = len(tokens)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    places = rng.uniform(0, 20, (length, 3)).astype(np.float32)
    places[rng.uniform(size=length) < 0.2] = np.nan
    return Protein(
        row_id="x",
        coordinates=torch.from_numpy(places),
        tokens=torch.from_numpy(np.where(tokens < kept, tokens, -1)),
        n_tokens=kept,
    )


@settings(max_examples=60, deadline=None)
@given(protein=proteins(), separation=st.integers(1, 4), seed=st.integers(0, 100))
def test_pairs_are_those_of_a_double_loop(protein: Protein, separation: int, seed: int) -> None:
    pairs = residue_pairs(protein, cutoff_angstrom=8.0, min_separation=separation)
    places = protein.coordinates.double().numpy()
    expected = {
        (i, j): bool(np.linalg.norm(places[i] - places[j]) < 8.0)
        for i in range(len(places))
        for j in range(i + separation, len(places))
        if np.isfinite(places[[i, j]]).all()
    }
    found = {
        (i, j): contact
        for i, j, contact in zip(
            pairs.first.tolist(), pairs.second.tolist(), pairs.contacts.tolist(), strict=True
        )
    }
    assert found == expected

    tokens, n = protein.tokens.tolist(), protein.n_tokens
    wanted: dict[tuple[int, int], list[bool]] = {}
    for (i, j), contact in expected.items():
        if tokens[i] >= 0 and tokens[j] >= 0:
            wanted.setdefault((tokens[i], tokens[j]), []).append(contact)
    labelled, contacts = token_targets(protein, pairs)
    targets = {
        divmod(int(place), n): bool(contact)
        for place, contact in zip(labelled, contacts, strict=True)
    }
    assert targets == {place: any(of) for place, of in wanted.items()}

    scores = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)) + 0.1
    given_scores = residue_scores(protein, pairs, scores)
    best = best_scores(protein, pairs, min_separation=separation + 2)
    ranked: dict[tuple[int, int], list[bool]] = {}
    for (i, j), contact in expected.items():
        if j - i >= separation + 2:
            ranked.setdefault((tokens[i], tokens[j]), []).append(contact)
    for (i, j), score, share in zip(expected, given_scores, best, strict=True):
        place = (tokens[i], tokens[j])
        seen = min(place) >= 0
        assert float(score) == pytest.approx(float(scores[place]) if seen else 0.0)
        counts = seen and j - i >= separation + 2
        assert float(share) == pytest.approx(np.mean(ranked[place]) if counts else 0.0)


def test_a_pair_at_the_cutoff_is_no_contact_far_from_the_origin() -> None:
    # Distances by products of coordinates would be wrong by a tenth of an angstrom here.
    places = torch.full((30, 3), 900.0)
    places[:, 0] += torch.arange(30) * 8.0
    protein = Protein(row_id="x", coordinates=places, tokens=torch.arange(30), n_tokens=30)
    assert not residue_pairs(protein, cutoff_angstrom=8.0, min_separation=1).contacts.any()
    near = residue_pairs(protein, cutoff_angstrom=8.001, min_separation=1)
    assert int(near.contacts.sum()) == 29
