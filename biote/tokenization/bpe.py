"""Byte-pair encoding by SentencePiece models."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sentencepiece

from biote.errors import DataError
from biote.molecules import MOLECULES, Modality, Molecule
from biote.tokenization.base import FORMAT_VERSION, AmbiguityMode, Ids, Tokenizer

BPE_PIECE_CHARACTERS: Final = 65_536
"""Long sequences are encoded in pieces of this many characters: SentencePiece's time grows
faster than the length, and a fixed cut makes the ids independent of how a file was read."""

_DUMMY_PREFIX: Final = "\u2581"


class _PieceModel:
    """One SentencePiece model at its place in the id range."""

    def __init__(self, path: Path, offset: int) -> None:
        if not path.is_file():
            raise DataError(
                "no SentencePiece model there", where=str(path), mend="give the path of a .model"
            )
        self.path = path
        self.offset = offset
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise DataError(
                "not a SentencePiece model", where=str(path), mend="give the path of a .model"
            ) from error
        self.size = int(self.processor.vocab_size())
        self.pieces = [str(self.processor.id_to_piece(i)) for i in range(self.size)]
        self.unknown = int(self.processor.unk_id())
        self.special: dict[str, int] = {
            piece: i
            for i, piece in enumerate(self.pieces)
            if i == self.unknown
            or self.processor.is_control(i)
            or (piece.startswith("<") and piece.endswith(">") and len(piece) > 2)
        }
        self.lengths = np.array(
            [
                0 if i in self.special.values() else len(piece.replace(_DUMMY_PREFIX, ""))
                for i, piece in enumerate(self.pieces)
            ],
            np.int64,
        )
        self.lengths[self.unknown] = 1  # one unknown token per unknown letter, see encode
        self.dropped = np.array(
            [i for i, piece in enumerate(self.pieces) if piece == _DUMMY_PREFIX], np.int64
        )
        known = {piece for piece in self.pieces if len(piece) == 1 and piece != _DUMMY_PREFIX}
        self._unknown_letters = re.compile(f"([^{re.escape(''.join(sorted(known)))}])")

    def encode(self, sequence: str) -> list[int]:
        """Encode letters; each unknown letter is a token of its own, so none loses its place."""
        ids: list[int] = []
        if self._unknown_letters.search(sequence) is None:
            ids = self.processor.encode(sequence)
        else:
            # SentencePiece merges a run of unknown letters into one piece without saying how long.
            for i, part in enumerate(self._unknown_letters.split(sequence)):
                if i % 2:
                    ids.append(self.unknown)
                elif part:
                    ids.extend(self.processor.encode(part))
        return ids

    def first(self, names: Iterable[str]) -> int | None:
        """Global id of the first of these special pieces that the model has."""
        for name in names:
            if name in self.special:
                return self.special[name] + self.offset
        return None


class BPETokenizer(Tokenizer):
    """SentencePiece byte-pair encoding over one mixed model, or one model per modality.

    Ids of the protein model follow those of the nucleic model. Special ids are found by piece
    name; a padding or mask token that no model has gains an id after the last. SentencePiece's
    dummy prefix (a lone U+2581) is dropped wherever it appears. Sequences are encoded in pieces
    of 65,536 characters.

    Args:
        nucleic: SentencePiece model for nucleic acids, or for both modalities.
        protein: SentencePiece model for proteins; without it ``nucleic`` reads both.
        ambiguity: ``canonical`` reads ambiguity codes as N and X before encoding; ``released``
            leaves them to the model.

    Raises:
        DataError: If a file is missing, is no SentencePiece model, or lacks a type tag or the
            end-of-sequence piece.

    Source: paper, Methods (tokenisation).
    """

    kind = "bpe"

    def __init__(
        self, nucleic: Path, protein: Path | None = None, *, ambiguity: AmbiguityMode = "canonical"
    ) -> None:
        self.ambiguity = ambiguity
        first = _PieceModel(Path(nucleic), 0)
        second = _PieceModel(Path(protein), first.size) if protein is not None else first
        self._models = {Modality.NUCLEIC: first, Modality.PROTEIN: second}
        self._distinct = [first] if second is first else [first, second]
        self.vocab_size = sum(model.size for model in self._distinct)
        self.unk_id = first.unknown
        self.pad_id = self._found_or_added(["<pad>", "[PAD]"])
        self.mask_id = self._found_or_added(["<mask>", "[MASK]"])
        self._eos_ids = {m: self._required(m, ["<EOS>", "<eos>", "</s>"]) for m in Modality}
        self._tag_ids = {m: self._required(m.modality, [m.tag]) for m in MOLECULES}
        special = {self.pad_id, self.mask_id}
        for model in self._distinct:
            special |= {i + model.offset for i in model.special.values() if i != model.unknown}
        self._special_ids = np.array(sorted(special), np.int64)

    def _found_or_added(self, names: list[str]) -> int:
        for model in self._distinct:
            found = model.first(names)
            if found is not None:
                return found
        self.vocab_size += 1
        return self.vocab_size - 1

    def _required(self, modality: Modality, names: list[str]) -> int:
        model = self._models[modality]
        found = model.first(names)
        if found is None:
            raise DataError(
                f"the model has no piece {' or '.join(names)}",
                where=str(model.path),
                mend="train it with the type tags and <EOS> as declared symbols",
            )
        return found

    def tag_id(self, molecule: Molecule) -> int:
        return self._tag_ids[molecule]

    def eos_id(self, modality: Modality) -> int:
        return self._eos_ids[modality]

    @property
    def special_ids(self) -> npt.NDArray[np.int64]:
        return self._special_ids

    def _encode_canonical(self, sequence: bytes, modality: Modality) -> Ids:
        model = self._models[modality]
        text = sequence.decode("ascii")
        ids: list[int] = []
        for start in range(0, len(text), BPE_PIECE_CHARACTERS):
            ids.extend(model.encode(text[start : start + BPE_PIECE_CHARACTERS]))
        local = np.array(ids, np.int64)
        if len(model.dropped):
            local = local[~np.isin(local, model.dropped)]
        return (local + model.offset).astype(self.dtype)

    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        model = self._models[modality]
        lengths: npt.NDArray[np.int64] = model.lengths[ids.astype(np.int64) - model.offset]
        return lengths

    def _letters(self, ids: Iterable[int], modality: Modality) -> str:
        unknown = "N" if modality is Modality.NUCLEIC else "X"
        special = set(self._special_ids.tolist())
        letters = []
        for i in ids:
            model = self._distinct[-1 if i >= self._distinct[-1].offset else 0]
            if i in special:
                continue
            local = i - model.offset
            letters.append(unknown if local == model.unknown else model.pieces[local])
        return "".join(letters).replace(_DUMMY_PREFIX, "")

    def _description(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "ambiguity": self.ambiguity,
            "vocab_size": self.vocab_size,
            "piece_characters": BPE_PIECE_CHARACTERS,
            "models": [
                {
                    "file": _model_file(i, len(self._distinct)),
                    "offset": model.offset,
                    "sha256": model.sha256,
                }
                for i, model in enumerate(self._distinct)
            ],
            "special": {"unk": self.unk_id, "pad": self.pad_id, "mask": self.mask_id}
            | {f"EOS {modality}": i for modality, i in self._eos_ids.items()}
            | {molecule.tag: i for molecule, i in self._tag_ids.items()},
        }

    def _save_models(self, folder: Path) -> None:
        for i, model in enumerate(self._distinct):
            target = folder / _model_file(i, len(self._distinct))
            if not (target.exists() and target.samefile(model.path)):
                shutil.copyfile(model.path, target)


def _model_file(index: int, models: int) -> str:
    """File name of a SentencePiece model inside a tokenizer folder."""
    return "mixed.model" if models == 1 else ("nucleic.model", "protein.model")[index]
