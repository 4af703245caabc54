"""Residue-residue contacts of single proteins: TAPE's task, and any table of coordinates.

Legend: B proteins, T packed tokens, R residues of all proteins.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch.utils.data import Dataset

from biote.alignment import NO_TOKEN, Places
from biote.batch import LabelledBatch
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.contact_rows import ProteinMap, maps_fingerprint, read_maps
from biote.datamodules.folds import ValidationFold, fold_splits
from biote.datamodules.groups import GroupEncoder
from biote.datamodules.packing import pack, padding_group
from biote.datamodules.published import find_folder, sequence_group, settle_published_leaks
from biote.datamodules.rows import SPLITS, Row, Split
from biote.datamodules.steps import RowStep
from biote.datamodules.tape_files import missing_set
from biote.errors import ConfigError
from biote.molecules import Molecule
from biote.pair_batch import PairBatch
from biote.paths import existing_file

logger = logging.getLogger(__name__)

TAPE_FILES: Final[dict[Split, str]] = {
    "train": "proteinnet_train",
    "validation": "proteinnet_valid",
    "test": "proteinnet_test",
}
_TAPE_SUFFIXES: Final = (".json", ".lmdb")
_TAPE_TASK: Final = "proteinnet"


class ContactMapDataModule(LabelledDataModule):
    """Proteins whose residues are in contact where their C-alpha atoms are near.

    A table of ``biote corpus maps`` is dealt into folds of whole sequences. A folder with TAPE's
    ``proteinnet_train``, ``proteinnet_valid`` and ``proteinnet_test`` (``.json`` or ``.lmdb``)
    keeps TAPE's splits; sequences that stand in two of them are counted and reported.

    Args:
        root: Parquet table, or folder of TAPE's files: with ``tape/proteinnet``, or ``tape`` or
            ``proteinnet`` itself.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        batch_size: Proteins of an optimiser step.
        name: Name of the benchmark in results.
        cutoff_angstrom: Residues nearer than this are in contact.
        min_separation: Least distance along the sequence of pairs that are learnt and scored.
        max_residues: Longer proteins are left out of training and validation, and counted; tested
            ones are never left out.
        drop_leaks: Whether training and validation proteins whose sequence is tested, and
            training proteins whose sequence is validated, are left out; for TAPE's splits.
        group_column: Column of a table; proteins with the same value, such as a cluster of
            homologues, stand on one side of every split. Null groups by sequence.
        fold: Number of the test fold of a table, from 0.
        folds: Number of folds.
        fold_seed: Chooses which groups meet in a fold.
        fold_file: Where the folds are written once and read ever after.
        validation: ``next`` validates on the fold after the test fold; ``none`` trains on it.
        context: Most tokens of a protein; longer ones are trimmed, and what is trimmed is scored
            as predicted to touch nothing.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.

    Source: paper, Methods (TAPE contacts).
    """

    target_kind = "contacts"
    unit = ""

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        batch_size: int,
        name: str = "contacts",
        cutoff_angstrom: float = 8.0,
        min_separation: int = 12,
        max_residues: int | None = 1000,
        drop_leaks: bool = False,
        group_column: str | None = None,
        fold: int = 0,
        folds: int = 10,
        fold_seed: int = 0,
        fold_file: Path | None = None,
        validation: ValidationFold = "next",
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            tokenizer, context=context, batch_size=batch_size, seed=seed, num_workers=num_workers
        )
        if not cutoff_angstrom > 0:
            raise ConfigError(
                f"{cutoff_angstrom} angstrom",
                where="data.cutoff_angstrom",
                mend="give a positive number",
            )
        if min_separation < 1:
            raise ConfigError(
                f"{min_separation} residues",
                where="data.min_separation",
                mend="give 1 or more: a residue is no contact of its own",
            )
        self.benchmark = name
        self.cutoff_angstrom = cutoff_angstrom
        self.min_separation = min_separation
        self._root = Path(root)
        self._max_residues = max_residues
        self._drop_leaks = drop_leaks
        self._group_column = group_column
        self._fold = fold
        self._folds = folds
        self._fold_seed = fold_seed
        self._fold_file = Path(fold_file) if fold_file is not None else None
        self._validation: ValidationFold = validation
        self._proteins: dict[str, ProteinMap] = {}

    @property
    def n_outputs(self) -> int:
        return 1

    @property
    def fold(self) -> int | None:
        return None if self._root.is_dir() else self._fold

    @property
    def proteins(self) -> dict[str, ProteinMap]:
        """Proteins by row id."""
        self.rows("train")
        return self._proteins

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 over ids, sequences, coordinates, and what of them is a contact."""
        maps = maps_fingerprint(list(self.proteins.values()))
        rule = f"{maps} {self.cutoff_angstrom} {self.min_separation}"
        return hashlib.sha256(rule.encode()).hexdigest()

    def locate(self) -> None:
        if self._root.is_dir():
            for split in SPLITS:
                self._tape_file(split)
        else:
            self._table()

    def read_rows(self) -> dict[Split, list[Row]]:
        splits = self._published() if self._root.is_dir() else self._in_folds()
        trained: tuple[Split, ...] = ("train", "validation")
        for split in trained:
            kept = [row for row in splits[split] if self._fits(row)]
            if len(kept) < len(splits[split]):
                logger.info(
                    "%s: %d of %d %s proteins have more than %d residues and are left out.",
                    self.benchmark,
                    len(splits[split]) - len(kept),
                    len(splits[split]),
                    split,
                    self._max_residues,
                )
            splits[split] = kept
        return splits

    def _fits(self, row: Row) -> bool:
        return self._max_residues is None or len(row.parts[0][0]) <= self._max_residues

    def _in_folds(self) -> dict[Split, list[Row]]:
        path = self._table()
        if self._fold_file is None:
            raise ConfigError(
                "no fold file",
                where="data.fold_file",
                mend="set it to where the folds are to be kept",
            )
        maps = read_maps(path, group_column=self._group_column)
        self._proteins = {protein.id: protein for protein in maps}
        return fold_splits(
            [_row(p.id, p.sequence, group=p.group) for p in maps],
            benchmark=self.benchmark,
            rule=self._group_column or "exact sequence",
            fold=self._fold,
            folds=self._folds,
            fold_seed=self._fold_seed,
            validation=self._validation,
            path=self._fold_file,
        )

    def _published(self) -> dict[Split, list[Row]]:
        splits: dict[Split, list[Row]] = {}
        for split in SPLITS:
            splits[split] = []
            for protein in read_maps(self._tape_file(split)):
                row_id = f"{split}/{protein.id}"
                self._proteins[row_id] = protein
                splits[split].append(_row(row_id, protein.sequence, group=protein.sequence))
        return splits

    def settle_leaks(self, rows: Mapping[Split, list[Row]]) -> Mapping[Split, list[Row]]:
        if not self._root.is_dir():
            return super().settle_leaks(rows)
        return settle_published_leaks(rows, benchmark=self.benchmark, drop=self._drop_leaks)

    def tokens_of(self, row: Row) -> Places:
        """Token of every residue of a protein, counted without the frame.

        Args:
            row: Row of R residues.

        Returns:
            (R,), `biote.alignment.NO_TOKEN` for residues at a trimmed end.
        """
        return _tokens(row, self._encoder)

    def _table(self) -> Path:
        return existing_file(
            self._root, where="data.root", mend="make it with biote corpus maps, or give a folder"
        )

    def _tape_file(self, split: Split) -> Path:
        folder = find_folder(self._root, "tape", _TAPE_TASK, holding=f"{_TAPE_TASK}_*")
        candidates = [folder / f"{TAPE_FILES[split]}{suffix}" for suffix in _TAPE_SUFFIXES]
        found = next((path for path in candidates if path.exists()), None)
        if found is None:
            raise missing_set(
                candidates[-1], folder=folder.parent, task=_TAPE_TASK, root=self._root
            )
        return found

    def _batches(self, split: Split) -> Dataset[LabelledBatch]:
        return _ProteinBatches(self.rows(split), self.proteins, self._encoder)


class _ProteinBatches(Dataset[LabelledBatch]):
    """Builds the batch of a step's proteins."""

    def __init__(
        self, rows: Sequence[Row], proteins: dict[str, ProteinMap], encoder: GroupEncoder
    ) -> None:
        self._rows = rows
        self._proteins = proteins
        self._encoder = encoder

    def __getitem__(self, step: RowStep) -> PairBatch:
        rows = [self._rows[i] for i in step.rows]
        if rows:
            groups = [self._encoder.group(row.parts, row=row.id) for row in rows]
            ids, codes = [group[0] for group in groups], [group[1] for group in groups]
        else:
            ids, codes = padding_group(self._encoder.tokenizer)
        proteins = [self._proteins[row.id] for row in rows]
        tokens = [_tokens(row, self._encoder) for row in rows]
        return PairBatch(
            **pack(ids, codes),
            targets=torch.zeros(len(rows), 0),
            row_ids=tuple(row.id for row in rows),
            step_rows=step.step_rows,
            coordinates=torch.from_numpy(
                np.concatenate([np.zeros((0, 3), np.float32), *(p.coordinates for p in proteins)])
            ),
            token_of_residue=torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *tokens])),
            residues=tuple(len(protein.sequence) for protein in proteins),
        )


def _tokens(row: Row, encoder: GroupEncoder) -> Places:
    places = encoder.tokens_of_residues(row.parts, part=0, row=row.id)
    return np.where(places == NO_TOKEN, NO_TOKEN, places - 1)


def _row(row_id: str, sequence: str, *, group: str) -> Row:
    return Row(
        id=row_id,
        parts=((sequence, Molecule.PROTEIN),),
        target=(),
        group=sequence_group(group),
    )
