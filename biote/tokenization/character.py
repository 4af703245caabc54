"""One id per residue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.molecules import NUCLEIC_MOLECULES, NUCLEOTIDES, RESIDUES, Modality, Molecule
from biote.tokenization.base import FORMAT_VERSION, AmbiguityMode, Ids, Tokenizer


class CharacterTokenizer(Tokenizer):
    """One id per residue: the 49 published ids.

    Args:
        ambiguity: ``canonical`` reads ambiguity codes as N and X; ``released`` gives them the
            unknown id, as the released character models were trained.

    Source: paper, Methods (character-level models); ids of the released vocabulary.
    """

    kind = "character"
    vocab_size = 49
    unk_id, pad_id, mask_id = 0, 1, 2
    _EOS: Final = 3

    def __init__(self, ambiguity: AmbiguityMode = "canonical") -> None:
        self.ambiguity = ambiguity
        names = ["<unk>", "<pad>", "<mask>", "<EOS>", *NUCLEOTIDES]
        self._tag_ids = {molecule: len(names) + i for i, molecule in enumerate(NUCLEIC_MOLECULES)}
        names += [molecule.tag for molecule in NUCLEIC_MOLECULES]
        first_residue = len(names)
        names += [*RESIDUES, Molecule.PROTEIN.tag]
        self._tag_ids[Molecule.PROTEIN] = len(names) - 1
        assert len(names) == self.vocab_size, "the published vocabulary has 49 ids"
        self._names = names
        # Every id fits a byte, so that letters become ids by one pass of `bytes.translate`.
        self._tables = {
            Modality.NUCLEIC: _byte_table(NUCLEOTIDES, 4),
            Modality.PROTEIN: _byte_table(RESIDUES, first_residue),
        }

    def tag_id(self, molecule: Molecule) -> int:
        return self._tag_ids[molecule]

    def eos_id(self, modality: Modality) -> int:
        return self._EOS

    @property
    def special_ids(self) -> npt.NDArray[np.int64]:
        return np.sort([self.pad_id, self.mask_id, self._EOS, *self._tag_ids.values()])

    def encode_spelled(
        self, sequences: Sequence[bytes], modality: Modality
    ) -> tuple[Ids, npt.NDArray[np.int64]]:
        letters = b"".join(sequences).translate(self._tables[modality])
        lengths = np.fromiter(map(len, sequences), np.int64, count=len(sequences))
        return np.frombuffer(letters, np.uint8).astype(self.dtype), lengths

    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        return np.ones(len(ids), np.int64)

    def _letters(self, ids: Iterable[int], modality: Modality) -> str:
        unknown = "N" if modality is Modality.NUCLEIC else "X"
        special = set(self.special_ids.tolist())
        return "".join(
            unknown if i == self.unk_id else self._names[i] for i in ids if i not in special
        )

    def _description(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "ambiguity": self.ambiguity,
            "vocab_size": self.vocab_size,
            "ids": self._names,
        }

    def _save_models(self, folder: Path) -> None:
        """Every id is in the description: there is no file to copy."""


def _byte_table(letters: str, first: int) -> bytes:
    """Id of every byte: consecutive ones from ``first`` for the letters, 0 (unknown) for others."""
    table = bytearray(256)
    for i, letter in enumerate(letters):
        table[ord(letter)] = first + i
    return bytes(table)
