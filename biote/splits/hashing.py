"""Sides of a split that follow from a sequence alone: its hash decides."""

from __future__ import annotations

import hashlib
from typing import Final

from biote.errors import DataError

_HASH_RANGE: Final = 2**64


def sequence_digest(canonical: bytes) -> int:
    """64-bit hash of a canonical sequence: equal sequences, equal side of any split.

    Args:
        canonical: Canonical letters (see `biote.molecules.canonical_bytes`).
    """
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest(), "little")


def validation_threshold(fraction: float) -> int:
    """Digests below this number are validation.

    Args:
        fraction: Expected share of distinct sequences, 0 to 1 (1 not included).

    Raises:
        DataError: If the fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise DataError(
            f"{fraction} is no share of the sequences",
            where="validation fraction",
            mend="give a number from 0 to below 1",
        )
    return int(fraction * _HASH_RANGE)
