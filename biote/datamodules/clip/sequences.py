"""The distinct genes or proteins of a table as packed windows, and their composition.

Legend: B windows, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from biote.contrastive_batch import Side, WindowBatch
from biote.datamodules.clip.table import PairColumns, read_sequences
from biote.datamodules.packing import IdArray, framed, pack
from biote.errors import DataError
from biote.molecules import NUCLEOTIDES, STANDARD_RESIDUES, Molecule
from biote.tokenization import Tokenizer

_ALPHABETS: Final = {Side.GENE: NUCLEOTIDES.replace("N", ""), Side.PROTEIN: STANDARD_RESIDUES}
_LONGEST_KMER: Final = {Side.GENE: 3, Side.PROTEIN: 1}


class PairSequences:
    """One side of a table of pairs, streamed; see `biote.contrastive_batch.SequenceSource`.

    Args:
        columns: The table.
        side: Genes or proteins.
        tokenizer: Gives the ids.
        context: Most tokens of a window, type tag and end token included.
    """

    def __init__(
        self, columns: PairColumns, side: Side, tokenizer: Tokenizer, *, context: int
    ) -> None:
        self._columns = columns
        self._side = side
        self._tokenizer = tokenizer
        self._context = context

    @property
    def number(self) -> int:
        """How many distinct sequences there are."""
        return len(self._columns.rows[self._side])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all sequences in their order, and how they are tokenised and cut."""
        digest = hashlib.sha256(f"{self._tokenizer.fingerprint} {self._context}".encode())
        for sequence in self._columns.digests[self._side]:
            digest.update(sequence)
        return digest.hexdigest()

    def windows(self, start: int, stop: int, *, tokens: int) -> Iterator[WindowBatch]:
        """Stream the windows of some sequences, packed.

        A window is the type tag and at most ``context`` - 2 tokens; the end token stands where
        the sequence ends. Windows do not overlap and cover every token.

        Args:
            start: First sequence.
            stop: One past the last sequence.
            tokens: Tokens of a batch; a batch holds at least one window.
        """
        waiting: list[tuple[int, IdArray, Molecule]] = []
        size = 0
        for number, molecule, letters in read_sequences(
            self._columns, self._side, start=start, stop=stop
        ):
            for window in self._cut(letters, molecule, number):
                if waiting and size + len(window) > tokens:
                    yield _batch(waiting)
                    waiting, size = [], 0
                waiting.append((number, window, molecule))
                size += len(window)
        if waiting:
            yield _batch(waiting)

    def _cut(self, letters: str, molecule: Molecule, number: int) -> Iterator[IdArray]:
        record = f"{self._side} {number}"
        ids = self._tokenizer.encode_ids(letters, molecule, record=record)
        if not len(ids):
            raise DataError(
                "no token of it is left",
                where=record,
                mend="use a tokenizer that knows its letters",
            )
        step = self._context - 2
        for begin in range(0, len(ids), step):
            closes = begin + step >= len(ids)
            yield framed(ids[begin : begin + step], molecule, self._tokenizer, closes=closes)

    def composition(self) -> npt.NDArray[np.float32]:
        """What can be read off a sequence without a model.

        Frequencies of 1- to 3-mers of nucleotides in all frames (GC content is a sum of them) or
        of residues, and the logarithm of the length.

        Returns:
            (sequences, F).
        """
        return np.stack(
            [
                composition_features(letters, self._side)
                for _, _, letters in read_sequences(
                    self._columns, self._side, start=0, stop=self.number
                )
            ]
        )


def composition_features(letters: str, side: Side) -> npt.NDArray[np.float32]:
    """K-mer frequencies and the logarithm of the length of one sequence.

    K-mers with a letter outside the alphabet are left out.

    Args:
        letters: Canonical sequence.
        side: Gene or protein.

    Returns:
        (F,).
    """
    alphabet = _ALPHABETS[side]
    table = np.full(256, -1, np.int64)
    table[np.frombuffer(alphabet.encode(), np.uint8)] = np.arange(len(alphabet))
    codes = table[np.frombuffer(letters.encode(), np.uint8)]
    features = []
    for k in range(1, _LONGEST_KMER[side] + 1):
        number = max(len(codes) - k + 1, 0)
        places = [codes[i : i + number] for i in range(k)]
        known = np.logical_and.reduce([place >= 0 for place in places])
        kmers = sum(place * len(alphabet) ** (k - 1 - i) for i, place in enumerate(places))
        counts = np.bincount(np.asarray(kmers)[known], minlength=len(alphabet) ** k)
        features.append(counts / max(counts.sum(), 1))
    return np.concatenate([*features, [np.log(len(letters))]]).astype(np.float32)


def _batch(windows: list[tuple[int, IdArray, Molecule]]) -> WindowBatch:
    ids = [window for _, window, _ in windows]
    codes = [np.full(len(window), molecule.code, np.uint8) for _, window, molecule in windows]
    sequences = torch.tensor([number for number, _, _ in windows], dtype=torch.int64)
    return WindowBatch(**pack(ids, codes), sequences=sequences)
