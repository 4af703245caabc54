"""Contacts between the residues of a protein and a nucleic acid.

File: Parquet with one complex a row: ``id``, ``protein`` (sequence), ``nucleic`` (list of strands
with ``sequence`` and ``molecule``), ``distance`` (angstrom from every residue to the nearest
nucleotide, NaN where the residue is not resolved).

Source: paper, Methods (protein-nucleic acid contacts).
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biote.alignment import Rule
from biote.datamodules.folds import ValidationFold, fold_splits
from biote.datamodules.residues import ResidueDataModule, ResidueRow
from biote.datamodules.rows import Row, Split
from biote.errors import ConfigError, DataError
from biote.molecules import Modality, Molecule, canonical_sequence, parse_molecule
from biote.paths import existing_file
from biote.splits.homology import SIMILAR_ABOVE
from biote.splits.rules import Rule as SplitRule

logger = logging.getLogger(__name__)

COLUMNS: Final = ("id", "protein", "nucleic", "distance")


def read_contacts(path: Path, *, cutoffs_angstrom: list[float]) -> list[ResidueRow]:
    """Read complexes and label every residue by its distance to the nucleic acid.

    Args:
        path: Parquet file.
        cutoffs_angstrom: A residue has one label for each: whether it is at most as far away.

    Raises:
        DataError: If the file is no such table, an id occurs twice, or distances and residues
            differ in number.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"no Parquet file ({error})", where=str(path), mend="make it with biote corpus contacts"
        ) from error
    for name in COLUMNS:
        if name not in table.column_names:
            raise DataError(
                f"no column {name!r}",
                where=str(path),
                mend=f"its columns are {', '.join(table.column_names)}; contacts need "
                f"{', '.join(COLUMNS)}",
            )
    rows: list[ResidueRow] = []
    seen: set[str] = set()
    for number, values in enumerate(table.select(list(COLUMNS)).to_pylist()):
        row_id = str(values["id"])
        where = f"{path}, row {number} ({row_id})"
        if row_id in seen:
            raise DataError("its id occurs twice", where=where, mend="give every row its own id")
        seen.add(row_id)
        rows.append(_row(row_id, values, cutoffs_angstrom, where))
    if not rows:
        raise DataError("no complex", where=str(path), mend="check how the file was made")
    return rows


def _row(row_id: str, values: dict[str, Any], cutoffs: list[float], where: str) -> ResidueRow:
    if not values["protein"] or not values["nucleic"] or values["distance"] is None:
        raise DataError(
            "no protein, no nucleic acid or no distances", where=where, mend="drop the row"
        )
    protein = canonical_sequence(str(values["protein"]), Molecule.PROTEIN, record=where)
    distance = np.array(values["distance"], np.float32)  # a null becomes NaN
    if len(distance) != len(protein):
        raise DataError(
            f"{len(distance)} distances for {len(protein)} residues",
            where=where,
            mend="give one for every residue, NaN where it is not resolved",
        )
    if (distance < 0).any():
        raise DataError("a negative distance", where=where, mend="give angstrom, NaN if unknown")
    parts = [(protein, Molecule.PROTEIN)]
    for strand in values["nucleic"]:
        molecule = parse_molecule(str(strand["molecule"]))
        if molecule.modality is not Modality.NUCLEIC or not strand["sequence"]:
            raise DataError(
                f"a strand of {molecule} with sequence {strand['sequence']!r}",
                where=where,
                mend="give the sequence of a nucleic acid",
            )
        parts.append((canonical_sequence(strand["sequence"], molecule, record=where), molecule))
    within = distance[:, None] <= np.array(cutoffs, np.float32)
    return ResidueRow(
        id=row_id,
        parts=tuple(parts),
        target=(),
        group=hashlib.sha256(protein.encode()).hexdigest()[:16],
        labels=np.where(np.isnan(distance)[:, None], np.nan, within).astype(np.float32),
    )


class ContactsDataModule(ResidueDataModule):
    """Which residues of a protein are within given distances of a nucleic acid.

    A row is ``<protein>P<EOS><DNA>S1<EOS><DNA>S2<EOS>`` (``<RNA>`` for RNA), one attention group;
    labels stand on the protein alone. Unresolved residues have none. Rows with the same protein
    sequence are always in the same fold.

    Args:
        root: Parquet file of complexes, made by ``biote corpus contacts``.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        batch_size: Rows of an optimiser step.
        thresholds: Largest distances of a contact in angstrom; each is a label of its own.
        fold: Number of the test fold, from 0.
        fold_file: Where the folds are written once and read ever after.
        folds: Number of folds.
        fold_seed: Chooses which proteins meet in a fold.
        rule: ``protein`` deals whole proteins into folds, ``cluster`` whole clusters of similar
            proteins, so that none is tested that resembles one trained on; ``paper`` holds
            proteins similar to another one in the training part of every fold.
        threshold: BLOSUM62 score per residue above which proteins are similar.
        validation: ``next`` validates on the fold after the test fold; ``none`` trains on it.
        context: Most tokens of a row; proteins are trimmed to fit, nucleic acids never.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.

    Source: paper, Methods (protein-nucleic acid contacts).
    """

    benchmark = "contacts"
    unit = ""
    residue_kind = "binary"

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        batch_size: int,
        thresholds: list[float] = [8.0, 6.0, 4.0],  # noqa: B006 - never changed
        fold: int,
        fold_file: Path,
        folds: int = 10,
        fold_seed: int = 0,
        rule: SplitRule = "protein",
        threshold: float = SIMILAR_ABOVE,
        validation: ValidationFold = "next",
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            tokenizer, context=context, batch_size=batch_size, seed=seed, num_workers=num_workers
        )
        if not thresholds or min(thresholds) <= 0 or len(set(thresholds)) != len(thresholds):
            raise ConfigError(
                f"{thresholds}",
                where="data.thresholds",
                mend="give one or more different distances in angstrom",
            )
        self.output_names = tuple(f"{threshold:g}A" for threshold in thresholds)
        self._thresholds = thresholds
        self._root = Path(root)
        self._fold = fold
        self._fold_file = Path(fold_file)
        self._folds = folds
        self._fold_seed = fold_seed
        self._rule: SplitRule = rule
        self._threshold = threshold
        self._validation: ValidationFold = validation

    @property
    def token_rule(self) -> Rule:
        """A token is a contact if any of its residues is."""
        return "any"

    @property
    def fold(self) -> int:
        return self._fold

    def read_rows(self) -> dict[Split, list[Row]]:
        existing_file(
            self._root,
            where="data.root",
            mend="make it from structures with biote corpus contacts; biote download pdb says "
            "where structures come from",
        )
        rows = read_contacts(self._root, cutoffs_angstrom=self._thresholds)
        labels = np.concatenate([row.labels for row in rows])
        known = ~np.isnan(labels[:, 0])
        logger.info(
            "Contacts: %d complexes of %d proteins, %d residues (%d not resolved), positive: %s.",
            len(rows),
            len({row.group for row in rows}),
            len(labels),
            int((~known).sum()),
            ", ".join(
                f"{100 * share:.1f} % at {name}"
                for share, name in zip(labels[known].mean(axis=0), self.output_names, strict=True)
            ),
        )
        return fold_splits(
            rows,
            benchmark=self.benchmark,
            rule=self._rule,
            threshold=self._threshold,
            progress=self.alignment_progress,
            fold=self._fold,
            folds=self._folds,
            fold_seed=self._fold_seed,
            validation=self._validation,
            path=self._fold_file,
        )
