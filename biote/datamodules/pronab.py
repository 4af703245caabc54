"""ProNAB: measured free energies of protein-nucleic-acid binding.

File: one JSON object, ``{accession: {"Sequence": protein, "binding data": [[strand, type,
Kd in M, Delta G in kcal/mol, second strand], ...], "Protein Name": ..., "Protein source": ...}}``.

Source: Harini et al., ProNAB (Nucleic Acids Research 2022), as prepared by the authors of the
paper; paper, Methods (Delta G).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

import polars as pl

from biote.datamodules.ablation import AblationSettings
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.folds import ValidationFold, fold_splits
from biote.datamodules.rows import Row, Split
from biote.errors import ConfigError, DataError
from biote.molecules import STANDARD_RESIDUES, Molecule, canonical_sequence
from biote.paths import existing_file
from biote.splits.homology import SIMILAR_ABOVE
from biote.splits.rules import Rule

logger = logging.getLogger(__name__)

Duplicates = Literal["keep", "drop", "mean", "median"]
EmptyFirstStrand = Literal["drop", "second"]

WEAKEST_DELTA_G_KCAL_MOL = -0.005
"""Above it stand missing values (0) and a few dissociation constants in the wrong field."""

RT_KCAL_MOL = 1.987204e-3 * 298.0
"""Gas constant times the 298 K that are taken where no temperature is recorded."""

_RESIDUES = frozenset(STANDARD_RESIDUES)
_NUCLEOTIDES = frozenset("ACGTU")


@dataclass(frozen=True)
class PronabRows:
    """Rows of the file and what became of the others."""

    rows: list[Row]
    dropped: dict[str, int]
    """Number of rows dropped, by reason."""

    kd_disagreement_kcal_mol: dict[str, float]
    """By row id, how far Delta G lies from RT ln Kd at 298 K; rows without Kd are left out."""


def read_pronab(path: Path, *, empty_first_strand: EmptyFirstStrand = "drop") -> PronabRows:
    """Read ProNAB and keep what can be trained on.

    Kept are rows of type DNA or RNA between a protein of the 20 standard residues and strands of
    A, C, G, T and U, with a Delta G of at most -0.005 kcal/mol. The group of a row is its
    protein's sequence, so accessions that share one stay together.

    Args:
        path: JSON file.
        empty_first_strand: ``drop`` rows without a first strand, or let them take the
            ``second``. Dropping leaves the 13,568 rows of the published file that figures are
            quoted for; the two it drops stand where second strands have slipped by a row.

    Raises:
        DataError: If the file is not JSON of ProNAB's layout, or no row of it can be used.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"not JSON ({error})", where=str(path)) from error
    if not isinstance(content, dict):
        raise DataError("not an object of accessions", where=str(path))
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    disagreement: dict[str, float] = {}
    for accession, entry in content.items():
        measurements = entry.get("binding data") if isinstance(entry, dict) else None
        if not isinstance(measurements, list):
            dropped["entry without binding data"] += 1
            continue
        for i, measurement in enumerate(measurements):
            row_id = f"{accession}:{i}"
            reason, row = _row(row_id, entry.get("Sequence"), measurement, empty_first_strand)
            if row is None:
                dropped[reason] += 1
                continue
            rows.append(row)
            dissociation = _number(measurement[2])
            if dissociation is not None:
                expected = RT_KCAL_MOL * math.log(dissociation)
                disagreement[row_id] = abs(row.target[0] - expected)
    if not rows:
        raise DataError(
            f"no row of ProNAB that can be used ({dict(dropped)})",
            where=str(path),
            mend="an entry needs 'Sequence' and 'binding data' rows of five fields",
        )
    return PronabRows(rows, dict(dropped), disagreement)


def _number(field: Any) -> float | None:
    """A dissociation constant in M, or None where there is none."""
    try:
        value = float(field)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < math.inf else None


def _row(
    row_id: str, protein: Any, measurement: Any, empty_first_strand: EmptyFirstStrand
) -> tuple[str, Row | None]:
    """The row, or the reason to drop it."""
    try:
        first, kind, _, energy, second = measurement
        delta_g = float(energy)
        strands = [strand for strand in (first, second) if strand]
        letters = set(protein), set().union(*strands)
    except (TypeError, ValueError):
        return "malformed: not five fields, or one of another type", None
    if not first and empty_first_strand == "drop":
        strands = []
    if kind not in ("DNA", "RNA"):
        return "type is neither DNA nor RNA", None
    if not letters[0] <= _RESIDUES or not protein:
        return "protein has other than the 20 standard residues", None
    if not strands:
        return "first strand empty", None
    if not letters[1] <= _NUCLEOTIDES:
        return "nucleic acid has other than A, C, G, T, U", None
    if delta_g == 0:
        return "Delta G missing", None
    if not delta_g <= WEAKEST_DELTA_G_KCAL_MOL:
        return f"Delta G above {WEAKEST_DELTA_G_KCAL_MOL} kcal/mol", None
    if math.isinf(delta_g):
        return "Delta G infinite", None
    molecule = Molecule.DNA if kind == "DNA" else Molecule.RNA
    parts = (
        (protein, Molecule.PROTEIN),
        *((canonical_sequence(strand, molecule, record=row_id), molecule) for strand in strands),
    )
    group = hashlib.sha256(protein.encode()).hexdigest()[:16]
    return "", Row(id=row_id, parts=parts, target=(delta_g,), group=group)


def without_duplicates(rows: Sequence[Row], duplicates: Duplicates) -> list[Row]:
    """Treat rows with the same input: the same protein, type and strands in either order.

    Args:
        rows: Rows of ProNAB.
        duplicates: ``keep`` all; ``drop`` repeats of the same Delta G; one row with the ``mean``
            or ``median`` Delta G of its input, under the id of the first.
    """
    if duplicates == "keep":
        return list(rows)
    of_input: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        protein, *strands = row.parts
        of_input[protein, tuple(sorted(strands))].append(row)
    if duplicates == "drop":
        kept: list[Row] = []
        for same in of_input.values():
            first_of_value = {row.target: row for row in reversed(same)}
            kept += [row for row in same if first_of_value[row.target] is row]
        return kept
    average = fmean if duplicates == "mean" else median
    return [
        replace(same[0], target=(average(row.target[0] for row in same),))
        for same in of_input.values()
    ]


class PronabDataModule(LabelledDataModule):
    """Binding free energies in kcal/mol, in folds of whole proteins or clusters.

    A row is ``<protein>P<EOS><DNA>S1<EOS><DNA>S2<EOS>`` (``<RNA>`` for RNA, the second strand
    where the file gives one), one attention group. Rows with the same protein sequence are
    always in the same fold.

    Args:
        root: Folder with ``pronab/pronab_no_mutations.json``, or the path of a file like it.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        batch_size: Rows of an optimiser step.
        fold: Number of the test fold, from 0; null trains on all rows and tests none.
        fold_file: Where the folds are written once and read ever after; null where there is no
            test fold.
        folds: Number of folds.
        fold_seed: Chooses which proteins meet in a fold.
        rule: ``protein`` deals whole proteins into folds, ``cluster`` whole clusters of similar
            proteins, so that none is tested that resembles one trained on; ``paper`` holds
            proteins similar to another one in the training part of every fold.
        threshold: BLOSUM62 score per residue above which proteins are similar.
        validation: ``next`` validates on the fold after the test fold; ``none`` trains on it.
        duplicates: Rows with the same input: ``keep`` all, ``drop`` repeats of one value, or one
            row with their ``mean`` or ``median``.
        empty_first_strand: ``drop`` such rows, or let them take the ``second`` strand.
        context: Most tokens of a row; proteins are trimmed to fit, nucleic acids never.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.
        nucleic_tokenizer: Tokenizer of the nucleic acids where a second encoder reads them; null
            takes that of ``model.nucleic_encoder.encoder_checkpoint``, if there is one.
        max_kd_disagreement_kcal_mol: Rows whose Delta G lies farther from RT ln Kd (298 K) are
            left out; null keeps them.
        ablation: What is taken from rows, for example ``{kind: shuffle-strands}`` of test rows, or
            ``{kind: shuffle-targets, trained: true}``.

    Source: paper, Methods (Delta G).
    """

    benchmark = "pronab"
    unit = "kcal/mol"
    target_kind = "regression"

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        batch_size: int,
        fold: int | None,
        fold_file: Path | None,
        folds: int = 10,
        fold_seed: int = 0,
        rule: Rule = "protein",
        threshold: float = SIMILAR_ABOVE,
        validation: ValidationFold = "next",
        duplicates: Duplicates = "keep",
        empty_first_strand: EmptyFirstStrand = "drop",
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
        nucleic_tokenizer: str | None = None,
        max_kd_disagreement_kcal_mol: float | None = None,
        ablation: AblationSettings = AblationSettings(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            tokenizer,
            context=context,
            batch_size=batch_size,
            seed=seed,
            num_workers=num_workers,
            ablation=ablation,
            nucleic_tokenizer=nucleic_tokenizer,
        )
        self._root = Path(root)
        self._fold = fold
        if fold is not None and fold_file is None:
            raise ConfigError(
                f"none, to find fold {fold} in",
                where="data.fold_file",
                mend="give the path of one, or set data.fold to null: all rows are trained on",
            )
        self._fold_file = Path(fold_file) if fold_file is not None else None
        self._folds = folds
        self._fold_seed = fold_seed
        self._rule: Rule = rule
        self._threshold = threshold
        self._validation: ValidationFold = validation
        self._duplicates: Duplicates = duplicates
        self._empty_first_strand: EmptyFirstStrand = empty_first_strand
        self._max_disagreement = max_kd_disagreement_kcal_mol
        self._disagreement: dict[str, float] = {}

    @property
    def n_outputs(self) -> int:
        return 1

    @property
    def fold(self) -> int | None:
        return self._fold

    def read_rows(self) -> dict[Split, list[Row]]:
        path = self._root
        if path.is_dir():
            path = path / "pronab" / "pronab_no_mutations.json"
        existing_file(
            path,
            where="data.root",
            mend="give the folder that holds pronab/pronab_no_mutations.json, or the file",
        )
        read = read_pronab(path, empty_first_strand=self._empty_first_strand)
        self._disagreement = read.kd_disagreement_kcal_mol
        agreeing = self._agreeing(read.rows)
        rows = without_duplicates(agreeing, self._duplicates)
        for reason, count in sorted(read.dropped.items(), key=lambda item: -item[1]):
            logger.info("ProNAB: %d rows dropped: %s.", count, reason)
        if len(agreeing) < len(read.rows):
            logger.info(
                "ProNAB: %d rows dropped: Delta G over %g kcal/mol from RT ln Kd.",
                len(read.rows) - len(agreeing),
                self._max_disagreement,
            )
        if len(rows) < len(agreeing):
            logger.info(
                "ProNAB: %d of %d rows dropped as duplicates (%s).",
                len(agreeing) - len(rows),
                len(agreeing),
                self._duplicates,
            )
        logger.info(
            "ProNAB: %d rows of %d proteins kept.", len(rows), len({row.group for row in rows})
        )
        if self._fold is None:
            logger.info("ProNAB: no fold is held out, all rows are training rows.")
            return {"train": rows, "validation": [], "test": []}
        assert self._fold_file is not None
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

    def _agreeing(self, rows: list[Row]) -> list[Row]:
        limit = self._max_disagreement
        if limit is None:
            return rows
        return [row for row in rows if self._disagreement.get(row.id, 0.0) <= limit]

    def row_facts(self) -> pl.DataFrame:
        """The facts of all rows, with kd_disagreement_kcal_mol unless a row is several."""
        facts = super().row_facts()
        if self._duplicates in ("mean", "median"):
            logger.info(
                "ProNAB: a row is several measurements (data.duplicates: %s), so neither rows that "
                "agree with their Kd nor repeated measurements are scored by themselves.",
                self._duplicates,
            )
            return facts
        disagreement = [self._disagreement.get(row) for row in facts.get_column("row_id")]
        column = pl.Series("kd_disagreement_kcal_mol", disagreement, pl.Float64)
        return facts.with_columns(column)
