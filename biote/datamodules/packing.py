"""Token arrays to packed groups.

Legend: B groups, T packed tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from biote.batch import group_layout
from biote.molecules import Molecule
from biote.tokenization import Tokenizer

IdArray = npt.NDArray[Any]


class Packed(TypedDict):
    """The fields every packed batch has; see `biote.batch.PackedBatch`."""

    ids: Tensor
    cu_seqlens: Tensor
    positions: Tensor
    molecules: Tensor
    lengths: tuple[int, ...]


def pack(ids: Sequence[IdArray], molecules: Sequence[IdArray]) -> Packed:
    """Lay groups end to end.

    Args:
        ids: Token ids of every group.
        molecules: Molecule codes of the tokens of every group.

    Returns:
        The fields of a packed batch.
    """
    lengths = [len(group) for group in ids]
    return pack_flat(np.concatenate(ids), np.concatenate(molecules), lengths=lengths)


def pack_flat(ids: IdArray, molecules: IdArray, *, lengths: list[int]) -> Packed:
    """Make a packed batch of groups that lie end to end already.

    Args:
        ids: Token ids, (T,).
        molecules: Molecule code of every token, (T,).
        lengths: Tokens of every group, B numbers.

    Returns:
        The fields of a packed batch.
    """
    cu_seqlens, positions = group_layout(lengths)
    return Packed(
        ids=torch.from_numpy(ids.astype(np.int64, copy=False)),
        cu_seqlens=cu_seqlens,
        positions=positions,
        molecules=torch.from_numpy(molecules.astype(np.uint8, copy=False)),
        lengths=tuple(lengths),
    )


def framed(
    bare: IdArray, molecule: Molecule, tokenizer: Tokenizer, *, closes: bool = True
) -> IdArray:
    """Put the type tag before a sequence and the end token behind it.

    Args:
        bare: Token ids of the sequence.
        molecule: Molecule type.
        tokenizer: Knows the special ids.
        closes: Whether the sequence ends here; a window in the middle of a record does not.

    Returns:
        Token ids of ``<TYPE>SEQUENCE<EOS>``.
    """
    size = 1 + len(bare) + int(closes)
    result = np.empty(size, tokenizer.dtype)
    result[0] = tokenizer.tag_id(molecule)
    result[1 : 1 + len(bare)] = bare
    if closes:
        result[-1] = tokenizer.eos_id(molecule.modality)
    return result


def padding_group(tokenizer: Tokenizer) -> tuple[list[IdArray], list[IdArray]]:
    """One padding token as a group of its own, for a rank that has nothing to do in a step."""
    return (
        [np.array([tokenizer.pad_id], tokenizer.dtype)],
        [np.array([Molecule.PROTEIN.code], np.uint8)],
    )
