"""What every tokenizer can do.

Legend: L tokens of one sequence, V vocabulary size.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from biote.errors import DataError
from biote.molecules import Modality, Molecule, ascii_letters, canonical_bytes

Ids = npt.NDArray[np.unsignedinteger[Any]]
AmbiguityMode = Literal["canonical", "released"]

TOKENIZER_FILE: Final = "tokenizer.json"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class Encoding:
    """Token ids of one sequence and the residues each stands for."""

    ids: Ids
    """Token ids, (L,)."""

    spans: npt.NDArray[np.int64]
    """First residue and one past the last residue of every token, (L, 2)."""


class Tokenizer(ABC):
    """Token ids for sequences of any molecule type, and the special ids around them."""

    kind: str
    ambiguity: AmbiguityMode

    vocab_size: int
    """Number of ids, V; every id is below it."""

    modalities: tuple[Modality, ...] = tuple(Modality)
    """The modalities that can be encoded."""

    unk_id: int
    pad_id: int
    mask_id: int

    @abstractmethod
    def tag_id(self, molecule: Molecule) -> int:
        """Id of the type tag that opens a sequence of this molecule."""

    @abstractmethod
    def eos_id(self, modality: Modality) -> int:
        """Id of the end-of-sequence token of one modality."""

    @property
    @abstractmethod
    def special_ids(self) -> npt.NDArray[np.int64]:
        """Sorted ids that stand for no residue and are never masked, those of both ranges."""

    @abstractmethod
    def encode_spelled(
        self, sequences: Sequence[bytes], modality: Modality
    ) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Encode sequences in one go, without type tags and end tokens.

        Args:
            sequences: Sequences as `canonical` spells them, N of them.
            modality: Alphabet of all of them.

        Returns:
            Ids of this tokenizer's ``dtype``, the sequences end to end, (L,), and the number of
            tokens of every sequence, (N,).
        """

    @abstractmethod
    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        """How many residues each id stands for, (L,)."""

    @abstractmethod
    def _letters(self, ids: Iterable[int], modality: Modality) -> str:
        """The residues of bare ids."""

    @abstractmethod
    def _description(self) -> dict[str, Any]:
        """All that decides an id, as JSON; the fingerprint covers it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Smallest unsigned type that holds every id: uint16 up to 65,536 ids, else uint32."""
        return np.dtype(np.uint16 if self.vocab_size <= 65_536 else np.uint32)

    def canonical(self, sequence: bytes, modality: Modality, *, record: str = "sequence") -> bytes:
        """Spell a sequence as this tokenizer reads it; every letter keeps its place.

        Args:
            sequence: ASCII letters in any case.
            modality: Alphabet of the sequence.
            record: Record id for the error message.

        Raises:
            DataError: On a character outside the alphabet.
        """
        return canonical_bytes(
            sequence, modality, record=record, fold_ambiguous=self.ambiguity == "canonical"
        )

    def encode_ids(
        self, sequence: str | bytes, molecule: Molecule, *, record: str = "sequence"
    ) -> Ids:
        """Encode a sequence as bare ids, without type tag and end token.

        Args:
            sequence: Letters in any case.
            molecule: Molecule type.
            record: Record id for the error message.

        Returns:
            Ids of this tokenizer's ``dtype``, (L,).

        Raises:
            DataError: On a character outside the alphabet, naming record and position.
        """
        if isinstance(sequence, str):
            sequence = ascii_letters(sequence, record=record)
        canonical = self.canonical(sequence, molecule.modality, record=record)
        return self.encode_spelled([canonical], molecule.modality)[0]

    def encode(self, sequence: str, molecule: Molecule, *, record: str = "sequence") -> Encoding:
        """Encode a sequence as bare ids with the residue span of each.

        Args:
            sequence: Letters in any case.
            molecule: Molecule type.
            record: Record id for the error message.

        Raises:
            DataError: On a character outside the alphabet, naming record and position.
        """
        canonical = self.canonical(
            ascii_letters(sequence, record=record), molecule.modality, record=record
        )
        ids, _ = self.encode_spelled([canonical], molecule.modality)
        ends = np.cumsum(self._residues_per_token(ids, molecule.modality))
        covered = int(ends[-1]) if len(ends) else 0
        assert covered == len(canonical), f"{covered} residues in spans of {len(canonical)}"
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        return Encoding(ids=ids, spans=np.stack([starts, ends], axis=1).astype(np.int64))

    def decode(self, ids: Iterable[int], molecule: Molecule) -> str:
        """Spell bare ids as a canonical sequence; special ids stand for no letter.

        Args:
            ids: Token ids.
            molecule: Molecule type, which decides how an unknown token is written (N or X).

        Raises:
            DataError: On an id outside the vocabulary.
        """
        values = [int(i) for i in ids]
        for value in values:
            if not 0 <= value < self.vocab_size:
                raise DataError(f"token id {value} is outside the {self.vocab_size} known ids")
        return self._letters(values, molecule.modality)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides an id."""
        text = json.dumps(self._description(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the tokenizer as a folder.

        Args:
            folder: Where to write; made if it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._save_models(folder)
        content = self._description() | {"fingerprint": self.fingerprint}
        (folder / TOKENIZER_FILE).write_text(json.dumps(content, indent=2) + "\n")

    @abstractmethod
    def _save_models(self, folder: Path) -> None:
        """Copy the files the description names beside it."""
