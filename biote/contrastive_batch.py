"""Batches of gene-protein pairs, and of the windows their frozen states are computed from.

Legend: B pairs or windows, K kinds of negatives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from biote.batch import PackedBatch


class Side(StrEnum):
    """The two sides of a pair."""

    GENE = "gene"
    PROTEIN = "protein"


class Negatives(StrEnum):
    """Which proteins a gene's own is compared with; a twin of its pair is never among them."""

    ANY = "any"
    WITHIN_GENOME = "within_genome"
    LENGTH_MATCHED = "length_matched"
    WITHIN_GENOME_LENGTH_MATCHED = "within_genome_length_matched"


LENGTH_TOLERANCE: Final = 1.1
"""Length-matched pairs: neither their genes nor their proteins differ by more than this factor."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveBatch:
    """Pairs of a gene and its protein, by number; what the numbers stand for is the task's."""

    genes: Tensor
    """Number of every gene, (B,), int64."""

    proteins: Tensor
    """Number of every protein, (B,), int64."""

    twins: Tensor
    """Pairs that share a gene or a protein have the same number here, (B,), int64: they are no
    negatives of each other."""

    genomes: Tensor
    """Number of the genome, (B,), int64."""

    gene_lengths: Tensor
    """Nucleotides, (B,), int64."""

    protein_lengths: Tensor
    """Residues, (B,), int64."""

    others: Tensor
    """Number of a protein drawn from each kind of `Negatives`, -1 where there is none, (B, K),
    int64; (B, 0) in training."""

    groups: Tensor
    """Number of the group of pairs that the split keeps on one side, (B,), int64."""

    row_ids: tuple[str, ...]
    """Identifier of every pair, B of them."""

    partner_ids: tuple[tuple[str, ...], ...]
    """The pairs that the proteins of a row are taken from, its own first, then one of each kind of
    `Negatives`, empty where there is none: B of 1 + K."""

    def _map_tensors(self, change: Any) -> Self:
        changes: dict[str, Any] = {
            field.name: change(value)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device | str, non_blocking: bool = False, **_: Any) -> Self:
        """The same batch on another device."""
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, for copies that overlap with computation."""
        return self._map_tensors(Tensor.pin_memory)


@dataclass(frozen=True, kw_only=True)
class WindowBatch(PackedBatch):
    """Windows of genes or of proteins, each a group; those of one sequence follow each other."""

    sequences: Tensor
    """Number of the sequence every window belongs to, (B,), int64, ascending."""


class SequenceSource(Protocol):
    """The distinct genes or proteins of a table of pairs."""

    @property
    def number(self) -> int:
        """How many there are."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all of them in their order, and how they are tokenised and cut."""

    def windows(self, start: int, stop: int, *, tokens: int) -> Iterator[WindowBatch]:
        """Stream the windows of some of them, packed.

        Args:
            start: First sequence.
            stop: One past the last sequence.
            tokens: Tokens of a batch; a batch holds at least one window.
        """

    def composition(self) -> npt.NDArray[np.float32]:
        """K-mer frequencies and the logarithm of the length, (sequences, features)."""
