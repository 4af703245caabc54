"""Residues and the tokens that stand for them.

Legend: R residues of a sequence, L its tokens, T tokens of a group, C labels of a residue.

Labels belong to residues, predictions to tokens. One array, the token of every residue, leads
from either to the other: labels of a token's residues become its target, and its prediction
becomes that of each of its residues. A label that is not known is NaN; it takes no part in any
target and no part in any score.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Rule = Literal["mode", "mean", "any"]

NO_TOKEN: Final = -1
"""Token of a residue at the trimmed end of a protein."""


def tokens_of_residues(
    spans: npt.NDArray[np.int64], *, residues: int, kept: int, first: int = 0
) -> Places:
    """Find the token that stands for each residue.

    Args:
        spans: First residue and one past the last residue of every token, (L, 2), in order and
            without a gap (see `biote.tokenization.base.Encoding`).
        residues: Number of residues, R.
        kept: Number of tokens that are left at the beginning of the sequence.
        first: Place of the sequence's first token in its group.

    Returns:
        Place in the group of every residue's token, `NO_TOKEN` behind the kept ones, (R,).

    Raises:
        ValueError: If the spans do not cover the residues one after another.
    """
    starts, ends = spans[:, 0], spans[:, 1]
    covered = int(ends[-1]) if len(spans) else 0
    if covered != residues or (len(spans) and (starts[0] or (starts[1:] != ends[:-1]).any())):
        raise ValueError(f"spans cover {covered} of {residues} residues, or leave gaps")
    places = np.repeat(np.arange(len(spans), dtype=np.int64), ends - starts)
    return np.where(places < kept, places + first, NO_TOKEN)


def token_targets(labels: Labels, tokens: Places, *, n_tokens: int, rule: Rule) -> Labels:
    """Make targets of tokens out of labels of residues.

    Args:
        labels: Labels of every residue, (R, C); a residue whose labels are not all known counts
            as not labelled.
        tokens: Token of every residue, or `NO_TOKEN`, (R,).
        n_tokens: Number of tokens of the group, T.
        rule: The most frequent class of a token's residues (of equally frequent ones the lowest),
            the mean of their values, or whether any of them has a label above 0.

    Returns:
        Targets of every token, (T, C), NaN where none of a token's residues is labelled.
    """
    known = is_labelled(labels) & (tokens != NO_TOKEN)
    labels, tokens = labels[known], tokens[known]
    counts = np.bincount(tokens, minlength=n_tokens)
    targets = np.empty((n_tokens, labels.shape[1]), np.float32)
    for column in range(labels.shape[1]):
        targets[:, column] = _reduced(labels[:, column], tokens, counts, rule)
    targets[counts == 0] = np.nan
    return targets


def _reduced(labels: Labels, tokens: Places, counts: Places, rule: Rule) -> npt.NDArray[Any]:
    """Target of every token, (T,), without meaning where there is no labelled residue."""
    n_tokens = len(counts)
    if rule == "mode":
        classes = labels.astype(np.int64)
        n_classes = int(classes.max(initial=0)) + 1
        votes = np.bincount(tokens * n_classes + classes, minlength=n_tokens * n_classes)
        mode: npt.NDArray[np.int64] = votes.reshape(n_tokens, n_classes).argmax(axis=1)
        return mode
    weights = labels.astype(np.float64) if rule == "mean" else (labels > 0).astype(np.float64)
    sums = np.bincount(tokens, weights=weights, minlength=n_tokens)
    if rule == "any":
        return (sums > 0).astype(np.float64)
    mean: npt.NDArray[np.float64] = sums / np.maximum(counts, 1)
    return mean


def is_labelled(labels: Labels) -> npt.NDArray[np.bool_]:
    """Whether each residue is labelled, (R,).

    Args:
        labels: Labels of every residue, (R, C).
    """
    known: npt.NDArray[np.bool_] = np.asarray(~np.isnan(labels).any(axis=1))
    return known
