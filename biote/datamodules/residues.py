"""The base of every benchmark whose labels belong to residues.

Legend: R residues, T packed tokens, N labelled tokens, C labels of a residue.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from biote.alignment import NO_TOKEN, Labels, Places, Rule, is_labelled, token_targets
from biote.batch import LabelledBatch
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.groups import GroupEncoder
from biote.datamodules.packing import IdArray, pack, padding_group
from biote.datamodules.rows import Row, Split
from biote.datamodules.steps import RowStep
from biote.errors import DataError
from biote.residue_batch import ResidueBatch, ResidueKind

logger = logging.getLogger(__name__)

RULES: Final[dict[ResidueKind, Rule]] = {"classes": "mode", "binary": "mode", "values": "mean"}
"""How the labels of a token's residues become its target, where a benchmark says nothing else."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidueRow(Row):
    """One sequence whose residues are labelled, and the sequences it is read together with."""

    labels: Labels
    """Labels of the residues of ``parts[labelled]``, (R, C), NaN where they are not known."""

    labelled: int = 0
    """Which of the parts is labelled."""

    def __post_init__(self) -> None:
        residues = len(self.parts[self.labelled][0])
        if self.labels.ndim != 2 or len(self.labels) != residues:
            raise DataError(
                f"labels of shape {self.labels.shape} for {residues} residues",
                where=f"row {self.id}",
                mend="give every residue its label",
            )

    @property
    def answer(self) -> tuple[object, ...]:
        digest = hashlib.sha256(self.labels.astype("<f4").tobytes()).hexdigest()
        return *super().answer, self.labelled, self.labels.shape, digest


class _ResidueBatches(Dataset[LabelledBatch]):
    """Builds the batch of a step's rows; map-style, its keys are steps of a sampler."""

    def __init__(
        self, rows: Sequence[ResidueRow], encoder: GroupEncoder, *, rule: Rule, n_labels: int
    ) -> None:
        self._rows = rows
        self._encoder = encoder
        self._rule: Rule = rule
        self._n_labels = n_labels

    def __getitem__(self, step: RowStep) -> ResidueBatch:
        rows = [self._rows[i] for i in step.rows]
        if rows:
            groups = [self._encoder.group(row.parts, row=row.id) for row in rows]
            ids, codes = [group[0] for group in groups], [group[1] for group in groups]
        else:
            ids, codes = padding_group(self._encoder.tokenizer)
        tokens: list[Places] = []
        targets: list[Labels] = []
        before = 0
        for row, group in zip(rows, ids, strict=bool(rows)):
            of_row = _tokens(row, self._encoder)
            targets.append(token_targets(row.labels, of_row, n_tokens=len(group), rule=self._rule))
            tokens.append(np.where(of_row == NO_TOKEN, NO_TOKEN, of_row + before))
            before += len(group)
        return _batch(rows, ids, codes, tokens, targets, step=step, n_labels=self._n_labels)


def _batch(
    rows: Sequence[ResidueRow],
    ids: list[IdArray],
    codes: list[IdArray],
    tokens: list[Places],
    targets: list[Labels],
    *,
    step: RowStep,
    n_labels: int,
) -> ResidueBatch:
    """Lay the rows of a step end to end; a step may have none."""
    no_labels = np.zeros((0, n_labels), np.float32)
    every_target = np.concatenate([*targets, no_labels])  # (T, C)
    every_token = np.concatenate([*tokens, np.zeros(0, np.int64)])  # (all residues,)
    every_label = np.concatenate([*(row.labels for row in rows), no_labels])
    sizes = [len(row.labels) for row in rows]
    row_of = np.repeat(np.arange(len(rows)), sizes)
    positions = np.concatenate([*(np.arange(size) for size in sizes), np.zeros(0, np.int64)])
    with_token = every_token != NO_TOKEN
    with_target = np.flatnonzero(is_labelled(every_target))
    return ResidueBatch(
        **pack(ids, codes),
        targets=torch.from_numpy(every_target[with_target]),
        row_ids=tuple(row.id for row in rows),
        step_rows=step.step_rows,
        labelled_tokens=torch.from_numpy(with_target),
        residue_tokens=torch.from_numpy(every_token[with_token]),
        residue_labels=torch.from_numpy(every_label[with_token]),
        residue_rows=torch.from_numpy(row_of[with_token]),
        residue_positions=torch.from_numpy(positions[with_token]),
        step_labelled=step.step_weight,
    )


def _tokens(row: ResidueRow, encoder: GroupEncoder) -> Places:
    return encoder.tokens_of_residues(row.parts, part=row.labelled, row=row.id)


class ResidueDataModule(LabelledDataModule, ABC):
    """Rows of sequences whose residues are labelled.

    A token's target is the most frequent class or the mean value of its residues, or what else
    ``token_rule`` says; residues without a label take no part.
    """

    target_kind = "residues"

    residue_kind: ResidueKind
    """What the labels are."""

    output_names: tuple[str, ...]
    """Names of the classes, or of the labels of a residue, in the order of the outputs."""

    @property
    def token_rule(self) -> Rule:
        """How the labels of a token's residues become its target."""
        return RULES[self.residue_kind]

    @property
    def n_outputs(self) -> int:
        return len(self.output_names)

    @property
    def n_labels(self) -> int:
        """Labels of a residue, C: one class index, or one label per output."""
        return 1 if self.residue_kind == "classes" else len(self.output_names)

    def residue_rows(self, split: Split) -> list[ResidueRow]:
        """The rows of a split with the labels of their residues.

        Args:
            split: Which split.

        Raises:
            DataError: As `rows` does.
        """
        rows = self.rows(split)
        found = [row for row in rows if isinstance(row, ResidueRow)]
        assert len(found) == len(rows), "read_rows must give rows with labelled residues"
        return found

    @property
    def target_statistics(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean and standard deviation of the labels of the training residues, (C,) each.

        Raises:
            DataError: If values are the same at all residues, or no residue is labelled.
        """
        labels = np.concatenate([row.labels for row in self.residue_rows("train")])
        labels = labels[is_labelled(labels)].astype(np.float64)
        if not len(labels):
            raise DataError(
                "no residue of the training rows is labelled",
                where=self.benchmark,
                mend="check the label column",
            )
        deviation = labels.std(axis=0)
        if self.residue_kind == "values" and not (deviation > 0).all():
            raise DataError(
                "a label has the same value at all training residues",
                where=self.benchmark,
                mend="there is nothing to learn: check the label column",
            )
        return labels.mean(axis=0), deviation

    def unscored_residues(self, split: Split) -> int:
        """Labelled residues at trimmed ends of proteins: no token stands for them.

        Args:
            split: Which split.
        """
        return sum(
            int((is_labelled(row.labels) & (self.tokens_of(row) == NO_TOKEN)).sum())
            for row in self.residue_rows(split)
        )

    def tokens_of(self, row: ResidueRow) -> Places:
        """Place in its group of the token of every labelled residue of a row.

        Args:
            row: Row of R residues.

        Returns:
            (R,), `biote.alignment.NO_TOKEN` for residues at a trimmed end.
        """
        return _tokens(row, self._encoder)

    def _report_trimmed(self, split: Split, rows: list[Row]) -> None:
        super()._report_trimmed(split, rows)
        labelled = lost = 0
        for row in rows:
            assert isinstance(row, ResidueRow)
            known = is_labelled(row.labels)
            labelled += int(known.sum())
            lost += int((known & (self.tokens_of(row) == NO_TOKEN)).sum())
        if lost:
            logger.warning(
                "%s: %d of %d labelled %s residues (%.1f %%) stand at trimmed ends and are left "
                "out; raise data.context to have them.",
                self.benchmark,
                lost,
                labelled,
                split,
                100 * lost / labelled,
            )

    def _batches(self, split: Split) -> Dataset[LabelledBatch]:
        return _ResidueBatches(
            self.residue_rows(split),
            self._encoder,
            rule=self.token_rule,
            n_labels=self.n_labels,
        )

    def _row_weights(self, split: Split) -> list[int]:
        """Labelled tokens of every row."""
        weights = []
        for row in self.residue_rows(split):
            tokens = self.tokens_of(row)[is_labelled(row.labels)]
            weights.append(len(np.unique(tokens[tokens != NO_TOKEN])))
        return weights
