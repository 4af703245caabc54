from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.alignment import NO_TOKEN, is_labelled, token_targets, tokens_of_residues
from biote.molecules import RESIDUES, Molecule
from biote.tokenization import BPETokenizer, CharacterTokenizer

Spans = npt.NDArray[np.int64]


def spans_of(lengths: list[int]) -> Spans:
    ends = np.cumsum([0, *lengths])
    return np.stack([ends[:-1], ends[1:]], axis=1)


sequences = st.text(alphabet=RESIDUES, min_size=1, max_size=40)
lengths = st.lists(st.integers(1, 5), min_size=1, max_size=12)


@given(sequences, st.data())
def test_one_token_a_residue_gives_every_label_back(sequence: str, data: st.DataObject) -> None:
    # REFERENCE 6, 13: unknown and rare letters keep their place.
    classes = data.draw(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=len(sequence),
                 max_size=len(sequence))
    )  # fmt: skip
    labels = np.array(classes, np.float32)[:, None]
    encoding = CharacterTokenizer().encode(sequence, Molecule.PROTEIN)
    tokens = tokens_of_residues(encoding.spans, residues=len(sequence), kept=len(sequence), first=1)
    for rule in ("mode", "mean"):
        targets = token_targets(labels, tokens, n_tokens=len(sequence) + 2, rule=rule)
        np.testing.assert_array_equal(targets[tokens], labels)
        assert np.isnan(targets[[0, -1]]).all()  # the tag and the end token have none


@given(lengths, st.integers(0, 12), st.integers(0, 3))
def test_residues_go_to_the_token_whose_span_holds_them(
    lengths: list[int], kept: int, first: int
) -> None:
    tokens = tokens_of_residues(
        spans_of(lengths), residues=sum(lengths), kept=kept, first=first
    ).tolist()
    expected = [
        t + first if t < kept else NO_TOKEN for t, n in enumerate(lengths) for _ in range(n)
    ]
    assert tokens == expected
    at_end = [token == NO_TOKEN for token in tokens]
    assert at_end == sorted(at_end)  # only a trimmed end is without tokens


@given(lengths, st.data())
def test_targets_are_mode_mean_and_any_of_labelled_residues(
    lengths: list[int], data: st.DataObject
) -> None:
    residues = sum(lengths)
    values = data.draw(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]), min_size=residues,
                 max_size=residues)
    )  # fmt: skip
    labels = np.array(values, np.float32)[:, None]
    kept = data.draw(st.integers(0, len(lengths)))
    tokens = tokens_of_residues(spans_of(lengths), residues=residues, kept=kept)
    found = {
        rule: token_targets(labels, tokens, n_tokens=len(lengths), rule=rule)[:, 0]
        for rule in ("mode", "mean", "any")
    }
    for token, (start, end) in enumerate(spans_of(lengths)):
        known = [value for value in values[start:end] if not np.isnan(value)]
        if not known or token >= kept:
            assert all(np.isnan(found[rule][token]) for rule in found)
            continue
        most = max(known.count(value) for value in known)
        assert found["mode"][token] == min(v for v in known if known.count(v) == most)
        assert found["mean"][token] == pytest.approx(np.mean(known), rel=1e-6)
        assert found["any"][token] == float(any(value > 0 for value in known))


@given(lengths)
def test_several_labels_have_targets_of_their_own(lengths: list[int]) -> None:
    rng = np.random.default_rng(sum(lengths))
    labels = rng.integers(0, 2, (sum(lengths), 3)).astype(np.float32)
    tokens = tokens_of_residues(spans_of(lengths), residues=sum(lengths), kept=len(lengths))
    together = token_targets(labels, tokens, n_tokens=len(lengths), rule="any")
    for column in range(3):
        alone = token_targets(labels[:, [column]], tokens, n_tokens=len(lengths), rule="any")
        np.testing.assert_array_equal(together[:, column], alone[:, 0])


def test_a_residue_with_a_missing_label_is_not_labelled() -> None:
    labels = np.array([[1, 0], [np.nan, 1], [1, 1]], np.float32)
    assert is_labelled(labels).tolist() == [True, False, True]
    targets = token_targets(labels, np.array([0, 0, 1]), n_tokens=2, rule="any")
    assert targets.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    "spans", [[[0, 2], [3, 4]], [[1, 4]], [[0, 2], [2, 3]]], ids=["gap", "late", "short"]
)
def test_spans_that_do_not_cover_the_residues_are_refused(spans: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="of 4 residues"):
        tokens_of_residues(np.array(spans), residues=4, kept=2)


@given(st.text(alphabet="ARNDCQEGHILKMFPSTWYVXUBZO", min_size=1, max_size=60))
def test_byte_pairs_never_shift_a_residue(sequence: str) -> None:
    # A label that tells the letter: whatever token a residue has, its span spells the residue.
    tokenizer = bpe()
    encoding = tokenizer.encode(sequence, Molecule.PROTEIN)
    tokens = tokens_of_residues(encoding.spans, residues=len(sequence), kept=len(encoding.ids))
    for residue, token in enumerate(tokens):
        start, end = encoding.spans[token]
        assert start <= residue < end
        piece = tokenizer.decode([int(encoding.ids[token])], Molecule.PROTEIN)
        letter = piece[residue - start]
        assert letter == sequence[residue] or letter == "X"


_TOKENIZERS: list[object] = []


def bpe() -> BPETokenizer:
    """The real mixed model, read once."""
    if not _TOKENIZERS:
        folder = os.environ.get("BIOTE_DATA")
        if not folder:
            pytest.skip("BIOTE_DATA is not set: this test reads real data")
        _TOKENIZERS.append(BPETokenizer(Path(folder) / "tokenizers" / "peptide_bpe.model"))
    found = _TOKENIZERS[0]
    assert isinstance(found, BPETokenizer)
    return found
