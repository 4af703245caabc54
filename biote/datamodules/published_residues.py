"""The base of benchmarks with labels of residues and a published split."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from biote.datamodules.published import settle_published_leaks
from biote.datamodules.residues import ResidueDataModule
from biote.datamodules.rows import Row, Split, rows_fingerprint
from biote.splits import sequence_digest, validation_threshold

VALIDATION_SHARE: Final = 0.1
"""Share of the sequences of a training file that is validated on where no other file is."""


class PublishedResidueDataModule(ResidueDataModule):
    """Labels of residues with a published split, kept as it is.

    Sequences that stand on two sides are counted and logged.

    Args:
        root: Folder or file of the data.
        tokenizer: What `biote.tokenization.resolve_tokenizer` takes.
        batch_size: Rows of an optimiser step.
        drop_leaks: Whether training rows whose sequence is in validation or any test set, and
            validation rows whose sequence is in any test set, are left out.
        context: Most tokens of a row.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.
    """

    unit = ""

    def __init__(
        self,
        root: Path,
        tokenizer: str | None,
        *,
        batch_size: int,
        drop_leaks: bool,
        context: int,
        seed: int,
        num_workers: int,
    ) -> None:
        super().__init__(
            tokenizer, context=context, batch_size=batch_size, seed=seed, num_workers=num_workers
        )
        self._root = Path(root)
        self._drop_leaks = drop_leaks

    @abstractmethod
    def read_rows(self) -> dict[Split, list[Row]]: ...

    def other_test_rows(self) -> list[Row]:
        """Rows of test sets that are there beside the one that is tested."""
        return []

    def settle_leaks(self, rows: Mapping[Split, list[Row]]) -> dict[Split, list[Row]]:
        held_out = self.other_test_rows() if self._drop_leaks else []
        return settle_published_leaks(
            rows, benchmark=self.benchmark, drop=self._drop_leaks, held_out=held_out
        )

    @cached_property
    def split_fingerprint(self) -> str:
        """SHA-256 over what is trained and validated on; every published test set fits it."""
        parts = [rows_fingerprint(self.rows(split)) for split in ("train", "validation")]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def with_validation(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Split training rows into those to train and those to validate on.

    A hash of the sequence decides, so that equal sequences stay together.

    Args:
        rows: Rows with one labelled sequence each.
    """
    threshold = validation_threshold(VALIDATION_SHARE)
    validated = [sequence_digest(row.parts[0][0].encode()) < threshold for row in rows]
    return (
        [row for row, held_out in zip(rows, validated, strict=True) if not held_out],
        [row for row, held_out in zip(rows, validated, strict=True) if held_out],
    )
