"""The base of every labelled benchmark: rows of sequences and targets as packed batches.

Legend: B rows, T packed tokens, C targets of a row.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from biote.batch import LabelledBatch
from biote.datamodules.ablation import AblationSettings, ablated
from biote.datamodules.facts import facts_frame
from biote.datamodules.groups import GroupEncoder, divided
from biote.datamodules.resume import refuse_other_settings
from biote.datamodules.row_batches import RowBatches
from biote.datamodules.row_checks import refuse_leaks, refuse_repeated_ids
from biote.datamodules.rows import SPLITS, Row, Split, TargetKind, rows_fingerprint
from biote.datamodules.steps import StepSampler
from biote.errors import CheckpointError, ConfigError, DataError
from biote.splits.homology import OnPairs
from biote.tokenization import Tokenizer, resolve_tokenizer

logger = logging.getLogger(__name__)


class LabelledDataModule(LightningDataModule, ABC):
    """Rows of sequences and targets.

    Args:
        tokenizer: What `biote.tokenization.resolve_tokenizer` takes; null takes that of
            ``model.encoder_checkpoint``.
        context: Most tokens of a group. Proteins are trimmed at their end to fit, nucleic acids
            never are.
        batch_size: Rows of an optimiser step, over all ranks and accumulated micro-batches.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches; 0 builds them in the training process.
        ablation: What is taken from rows.
        nucleic_tokenizer: Tokenizer of nucleic acids for a second encoder, which they go to by
            themselves; null leaves all sequences of a row in one group.
    """

    benchmark: str
    """Name in results."""

    unit: str
    """Unit of the targets, empty if they have none."""

    target_kind: TargetKind
    tested: str = "test"
    """What is tested: ``test``, or the name of one of several test sets."""

    evaluates_only = False
    """Whether there are test rows alone: a model trained on another benchmark is tested on them."""

    alignment_progress: OnPairs | None = None
    """Is told how far the alignment of proteins is, where folds are made that need one."""

    def __init__(
        self,
        tokenizer: str | None,
        *,
        context: int,
        batch_size: int,
        seed: int,
        num_workers: int,
        ablation: AblationSettings = AblationSettings(),  # noqa: B008 - frozen
        nucleic_tokenizer: str | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"{batch_size} rows", where="data.batch_size", mend="give 1 or more")
        if tokenizer is None:
            raise ConfigError(
                "no tokenizer",
                where="data.tokenizer",
                mend="give 'character', a tokenizer or corpus folder, or set "
                "model.encoder_checkpoint",
            )
        self.context = context
        self.seed = seed
        self._batch_size = batch_size
        self._num_workers = num_workers
        self.ablation = ablation
        self.tokenizer: Tokenizer = resolve_tokenizer(tokenizer)
        self._rows: Mapping[Split, list[Row]] | None = None
        self._encoder = GroupEncoder(self.tokenizer, context=context)
        self.nucleic_tokenizer: Tokenizer | None = None
        self._nucleic_encoder: GroupEncoder | None = None
        if nucleic_tokenizer is not None:
            self.nucleic_tokenizer = resolve_tokenizer(nucleic_tokenizer)
            self._nucleic_encoder = GroupEncoder(self.nucleic_tokenizer, context=context)

    @abstractmethod
    def read_rows(self) -> Mapping[Split, list[Row]]:
        """Read the rows of every split; called once."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Number of outputs a head needs: targets of a row, or classes."""

    @property
    def fold(self) -> int | None:
        """Number of the test fold, if the benchmark has folds."""
        return None

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.tokenizer.vocab_size

    def rows(self, split: Split) -> list[Row]:
        """The rows of a split.

        Args:
            split: Which split.

        Raises:
            DataError: If a group stands in two splits, two rows have one id, or the training
                split is empty.
        """
        if self._rows is None:
            rows = self.settle_leaks(self.read_rows())
            if not rows["train"] and not self.evaluates_only:
                raise DataError(
                    "no training row", where=self.benchmark, mend="check the file and the split"
                )
            refuse_repeated_ids(rows)
            for name in SPLITS:
                self._report_trimmed(name, rows[name])
            self._rows = rows
        return self._rows[split]

    def settle_leaks(self, rows: Mapping[Split, list[Row]]) -> Mapping[Split, list[Row]]:
        """Decide what becomes of a group that stands in several splits; here it is refused.

        Args:
            rows: Rows as they were read.

        Returns:
            Rows to work with.

        Raises:
            DataError: If a group stands in two splits.
        """
        refuse_leaks(rows)
        return rows

    def locate(self) -> None:
        """Make sure that the files are there, without reading them.

        Raises:
            DataError: If one is missing; of public data it names the command that fetches them.
        """

    def evaluation_options(self) -> dict[str, str]:
        """Arguments that choose what is tested and change nothing of the training."""
        return {}

    def seen_rows(self, split: Split) -> list[Row]:
        """The rows of a split as a model sees them, without what an ablation takes away.

        Args:
            split: Which split.

        Raises:
            DataError: If they cannot be read, or there is nothing to take away.
        """
        rows = self.rows(split)
        if not self.ablation.changes(tested=split == "test"):
            return rows
        return ablated(rows, self.ablation.kind, seed=self.seed)

    @property
    def tested_split(self) -> str:
        """What is tested, as it stands in results."""
        return self.tested + self.ablation.suffix

    def _report_trimmed(self, split: Split, rows: list[Row]) -> None:
        alone = self._nucleic_encoder is not None
        trimmed = [
            row
            for row in rows
            if self._encoder.trimmed(
                divided(row.parts, row=row.id)[0] if alone else row.parts, row=row.id
            )
        ]
        if trimmed:
            logger.info(
                "%s: %d of %d %s rows have their protein trimmed to fit %d tokens, for example %s.",
                self.benchmark,
                len(trimmed),
                len(rows),
                split,
                self.context,
                trimmed[0].id,
            )

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 over all rows."""
        return rows_fingerprint([row for split in SPLITS for row in self.rows(split)])

    @cached_property
    def split_fingerprint(self) -> str:
        """SHA-256 over which row stands in which split: what a checkpoint was trained on."""
        content = [(name, sorted(row.id for row in self.rows(name))) for name in SPLITS]
        # Rows changed in the test alone can be given to any model of the split.
        trained = self.ablation.suffix if self.ablation.trained else ""
        text = self.data_fingerprint + repr(content) + trained
        return hashlib.sha256(text.encode()).hexdigest()

    def row_facts(self) -> pl.DataFrame:
        """What scoring needs to know of all rows: row_id, split, group, cluster, protein, input."""
        rows = [(split, row) for split in SPLITS for row in self.rows(split)]
        return facts_frame(
            [row.id for _, row in rows],
            [row.parts for _, row in rows],
            groups=[row.group for _, row in rows],
            clusters=[row.cluster for _, row in rows],
            splits=[split for split, _ in rows],
        )

    @property
    def target_statistics(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean and standard deviation of the training targets, (C,) each.

        Raises:
            DataError: If a target is the same in all training rows.
        """
        targets = np.array([row.target for row in self.rows("train")], np.float64)
        deviation = targets.std(axis=0)
        if self.target_kind == "regression" and not (deviation > 0).all():
            raise DataError(
                "a target has the same value in all training rows",
                where=self.benchmark,
                mend="there is nothing to learn: check the label column",
            )
        return targets.mean(axis=0), deviation

    def setup(self, stage: str) -> None:
        """Read the rows before the model is built.

        Raises:
            ConfigError: If a model is to be trained on rows that are there to test on.
            DataError: If they cannot be read, or the split that is asked for is empty.
        """
        if self.evaluates_only and stage in ("fit", "validate"):
            raise ConfigError(
                f"{self.benchmark} has no rows to train or choose a model on",
                where="data",
                mend="fit on another benchmark, then biote test here with its --ckpt_path",
            )
        wanted: Split = "validation" if stage == "validate" else "test"
        if stage in ("test", "validate", "predict") and not self.rows(wanted):
            raise DataError(f"no {wanted} row", where=self.benchmark, mend="check the split")
        self.rows("train")

    def train_dataloader(self) -> DataLoader[LabelledBatch]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[LabelledBatch] | list[Any]:
        return self._loader("validation") if self.rows("validation") else []

    def test_dataloader(self) -> DataLoader[LabelledBatch]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[LabelledBatch]:
        return self._loader("test")

    def state_dict(self) -> dict[str, Any]:
        """What, with the number of steps done, decides the rows of every later step."""
        return {"split": self.split_fingerprint} | self._order_settings()

    def _order_settings(self) -> dict[str, int]:
        return {"batch_size": self._batch_size, "seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to continue a run with other data.

        Raises:
            CheckpointError: If the checkpoint was trained on another split or in another order.
        """
        if state_dict["split"] != self.split_fingerprint:
            raise CheckpointError(
                "the checkpoint was trained on another split of the data",
                where=self.benchmark,
                mend="use the fold and the fold file it was trained with"
                if self.fold is not None
                else "use the files it was trained with",
            )
        refuse_other_settings(state_dict, self._order_settings())

    def _loader(self, split: Split) -> DataLoader[LabelledBatch]:
        trainer = self.trainer
        training = split == "train"
        sampler = StepSampler(
            len(self.rows(split)),
            self._batch_size,
            rank=trainer.global_rank if trainer else 0,
            world=trainer.world_size if trainer else 1,
            accumulate=trainer.accumulate_grad_batches if trainer and training else 1,
            seed=self.seed if training else None,
            steps_done=lambda: trainer.global_step if trainer and training else 0,
            limit=trainer.limit_train_batches if trainer and training else 1.0,
            weights=self._row_weights(split),
        )
        return DataLoader(
            self._batches(split),
            sampler=sampler,
            batch_size=None,
            num_workers=self._num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def _batches(self, split: Split) -> Dataset[LabelledBatch]:
        """What builds the batch of a step's rows."""
        return RowBatches(
            self.seen_rows(split),
            self._encoder,
            self.target_kind,
            n_targets=len(self.rows(split)[0].target),
            nucleic_encoder=self._nucleic_encoder,
        )

    def _row_weights(self, split: Split) -> Sequence[int] | None:
        """What each row counts for in the loss of a step; null where all count the same."""
        return None
