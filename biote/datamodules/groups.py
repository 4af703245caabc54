"""The sequences of one row as one attention group, trimmed to the context where needed.

Legend: T tokens of a group, R residues of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from biote.alignment import Places, tokens_of_residues
from biote.datamodules.packing import IdArray, framed
from biote.errors import DataError
from biote.molecules import Modality, Molecule
from biote.tokenization import Tokenizer

Parts = Sequence[tuple[str, Molecule]]


def trimmed_lengths(
    lengths: Sequence[int], modalities: Sequence[Modality], *, context: int, row: str
) -> list[int]:
    """Tokens that every sequence of a group keeps.

    Proteins lose tokens at their end, the longest first; a nucleic acid keeps all of its own,
    for without it wild type and mutant would be one input.

    Args:
        lengths: Tokens of every sequence, type tag and end token not counted.
        modalities: Modality of every sequence.
        context: Most tokens of the group, type tags and end tokens counted.
        row: Row id for the error message.

    Raises:
        DataError: If the nucleic acids alone do not fit.
    """
    kept = list(lengths)
    excess = sum(lengths) + 2 * len(lengths) - context
    proteins = [i for i, m in enumerate(modalities) if m is Modality.PROTEIN]
    while excess > 0:
        longest = max(proteins, key=lambda i: kept[i], default=None)
        if longest is None or kept[longest] <= 1:
            raise DataError(
                f"{sum(lengths) + 2 * len(lengths)} tokens do not fit {context}, and nucleic acids "
                "are never trimmed",
                where=f"row {row}",
                mend="raise data.context",
            )
        rest = max((kept[i] for i in proteins if i != longest), default=1)
        cut = min(excess, max(1, kept[longest] - max(rest, 1)))
        kept[longest] -= cut
        excess -= cut
    return kept


def divided(parts: Parts, *, row: str) -> tuple[Parts, Parts]:
    """The proteins of a row, and its nucleic acids, for two encoders.

    Args:
        parts: Sequences and their molecule types.
        row: Row id for the error message.

    Raises:
        DataError: If the row lacks one of the two.
    """
    halves = tuple(
        [part for part in parts if part[1].modality is modality]
        for modality in (Modality.PROTEIN, Modality.NUCLEIC)
    )
    if not all(halves):
        raise DataError(
            "two encoders need a protein and a nucleic acid",
            where=f"row {row}",
            mend="set data.nucleic_tokenizer and model.nucleic_encoder to null",
        )
    return halves[0], halves[1]


class GroupEncoder:
    """Turns the sequences of a row into the ids of one group; remembers tokenised sequences.

    Args:
        tokenizer: Gives the ids.
        context: Most tokens of a group.
    """

    def __init__(self, tokenizer: Tokenizer, *, context: int) -> None:
        self.tokenizer = tokenizer
        self._context = context
        self._ids: dict[tuple[str, Molecule], IdArray] = {}
        self._spans: dict[tuple[str, Molecule], npt.NDArray[np.int64]] = {}

    def group(self, parts: Parts, *, row: str) -> tuple[IdArray, npt.NDArray[np.uint8]]:
        """Encode a row: ``<TYPE>SEQUENCE<EOS>`` of every sequence, one behind the other.

        Args:
            parts: Sequences and their molecule types.
            row: Row id for error messages.

        Returns:
            Token ids and molecule codes, (T,) each.

        Raises:
            DataError: On a character outside the alphabet, or if the nucleic acids do not fit.
        """
        bare = [self._bare(sequence, molecule, row) for sequence, molecule in parts]
        kept = self._kept(bare, parts, row)
        framed_parts = [
            framed(ids[:length], molecule, self.tokenizer)
            for ids, length, (_, molecule) in zip(bare, kept, parts, strict=True)
        ]
        codes = [
            np.full(len(ids), molecule.code, np.uint8)
            for ids, (_, molecule) in zip(framed_parts, parts, strict=True)
        ]
        return np.concatenate(framed_parts), np.concatenate(codes)

    def tokens_of_residues(self, parts: Parts, *, part: int, row: str) -> Places:
        """Find the token that stands for each residue of one sequence of a row.

        Args:
            parts: Sequences and their molecule types.
            part: Which of them.
            row: Row id for error messages.

        Returns:
            Place in the group of every residue's token, (R,); see
            `biote.alignment.tokens_of_residues`.

        Raises:
            DataError: As `group` does.
        """
        bare = [self._bare(sequence, molecule, row) for sequence, molecule in parts]
        kept = self._kept(bare, parts, row)
        spans = self._spans.get(parts[part])
        if spans is None:
            spans = self.tokenizer.encode(*parts[part], record=f"row {row}").spans
            self._spans[parts[part]] = spans
        before = sum(kept[:part]) + 2 * part
        return tokens_of_residues(
            spans, residues=len(parts[part][0]), kept=kept[part], first=before + 1
        )

    def trimmed(self, parts: Parts, *, row: str) -> bool:
        """Whether a row loses tokens to fit the context."""
        bare = [self._bare(sequence, molecule, row) for sequence, molecule in parts]
        return self._kept(bare, parts, row) != [len(ids) for ids in bare]

    def _bare(self, sequence: str, molecule: Molecule, row: str) -> IdArray:
        found = self._ids.get((sequence, molecule))
        if found is None:
            found = self.tokenizer.encode_ids(sequence, molecule, record=f"row {row}")
            self._ids[sequence, molecule] = found
        return found

    def _kept(self, bare: Sequence[IdArray], parts: Parts, row: str) -> list[int]:
        return trimmed_lengths(
            [len(ids) for ids in bare],
            [molecule.modality for _, molecule in parts],
            context=self._context,
            row=row,
        )
