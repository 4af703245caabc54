"""Pre-training data: windows of a weighted mixture of corpora, masked and packed.

The order of windows and their masks are pure functions of seed and place (see
`biote.datamodules.mixture`), so a checkpoint holds no more than a cursor.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, IterableDataset

from biote.batch import MaskedBatch, PackedBatch
from biote.corpora.shards import Corpus
from biote.corpora.windows import Split, WindowIndex, open_windows, shared_validation
from biote.datamodules.cursor import Cursor
from biote.datamodules.masking import check_mask_rate
from biote.datamodules.mixture import Mixture, validation_windows
from biote.datamodules.provenance import window_origins
from biote.datamodules.resume import refuse_other_settings
from biote.datamodules.shares import PartSize, Share, part_size
from biote.datamodules.stream import BatchBuilder, TrainingStream, ValidationStream
from biote.errors import CheckpointError, ConfigError
from biote.tokenization import Tokenizer


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """One corpus of a mixture."""

    folder: Path
    """Corpus folder written by biote prepare."""

    weight: float = 1.0
    """Share of the windows, relative to the other corpora."""


class PretrainingDataModule(LightningDataModule):
    """Masked windows of a weighted mixture of corpora.

    Every record is cut into windows of at most ``context`` tokens, all of which are used once a
    pass. Whole windows are packed into steps of ``tokens_per_step`` tokens and 15 % of their
    tokens are masked; type tags and end tokens never are. The run ends when ``tokens`` are
    spent, counted over all ranks.

    Args:
        corpora: Corpora and their shares of windows; all of one tokenizer.
        context: Most tokens of a window, type tag and end token included.
        tokens: Token budget of the whole run.
        tokens_per_step: Tokens of an optimiser step, over all ranks and accumulated
            micro-batches.
        pad_to_budget: Whether every micro-batch has exactly ``tokens_per_step`` / (ranks x
            accumulated micro-batches) tokens, for compiling with static shapes: look-ahead fills
            it with whole windows and padding does the rest. Where most records are longer than
            the context, make that number a multiple of ``context``.
        mask_rate: Probability of a token to be masked.
        validation_tokens: Most validation tokens of every corpus.
        seed: Chooses the order of windows and the masks.
        num_workers: Processes that build batches; 0 builds them in the training process.

    Source: paper, Methods (pre-training).
    """

    benchmark = "pretraining"
    tested_split = "validation"
    fold = None

    def __init__(
        self,
        corpora: list[CorpusSource],
        context: int,
        *,
        tokens: int,
        tokens_per_step: int,
        pad_to_budget: bool = False,
        mask_rate: float = 0.15,
        validation_tokens: int = 1_000_000,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if not corpora:
            raise ConfigError("no corpus", where="data.corpora", mend="give at least one folder")
        for name, value in (("tokens", tokens), ("tokens_per_step", tokens_per_step)):
            if value < 1:
                raise ConfigError(f"{value} tokens", where=f"data.{name}", mend="give at least 1")
        if tokens_per_step < context:
            raise ConfigError(
                f"{tokens_per_step} tokens cannot hold a window of {context}",
                where="data.tokens_per_step",
                mend="raise it or lower data.context",
            )
        self.context = context
        self.tokens = tokens
        self._sources = corpora
        self._tokens_per_step = tokens_per_step
        self._pad_to_budget = pad_to_budget
        self._mask_rate = check_mask_rate(mask_rate)
        self._validation_tokens = validation_tokens
        self.seed = seed
        self._num_workers = num_workers
        self._corpora: list[Corpus] | None = None
        self._cursor: Cursor | None = None
        self._cursors: OrderedDict[int, Cursor] = OrderedDict()

    @property
    def corpora(self) -> list[Corpus]:
        """The corpora, opened.

        Raises:
            DataError: If one is missing or damaged.
            ConfigError: If their tokenizers differ.
        """
        if self._corpora is None:
            self._corpora = [Corpus(source.folder) for source in self._sources]
            first = self._corpora[0]
            for corpus in self._corpora[1:]:
                if corpus.tokenizer.fingerprint != first.tokenizer.fingerprint:
                    raise ConfigError(
                        f"{corpus.folder} has another tokenizer than {first.folder}",
                        where="data.corpora",
                        mend="prepare them with the same --tokenizer",
                    )
        return self._corpora

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer all corpora share."""
        return self.corpora[0].tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.tokenizer.vocab_size

    @property
    def split_fingerprint(self) -> str:
        """What a checkpoint must have been trained on to be resumed with this data."""
        return "+".join(corpus.fingerprint[:16] for corpus in self.corpora)

    @property
    def data_fingerprint(self) -> str:
        """What the corpora hold."""
        return self.split_fingerprint

    def prepare_data(self) -> None:
        """Build the window sidecars that are missing, in one process of a machine."""
        trainer = self.trainer
        if trainer is None or trainer.state.fn == TrainerFn.FITTING:
            self._windows("train")
        self._windows("validation")

    def setup(self, stage: str) -> None:
        """Refuse a number of ranks that the budget cannot be shared out to.

        Raises:
            ConfigError: If it cannot.
        """
        size = self._part_size()
        if size is not None:
            size.warn_of_padding()

    def train_dataloader(self) -> DataLoader[MaskedBatch]:
        indices = self._windows("train")
        for corpus, index in zip(self.corpora, indices, strict=True):
            if len(index) == 0:
                raise ConfigError(
                    f"{corpus.folder} has no training window",
                    where="data.corpora",
                    mend="leave it out or prepare it from more records",
                )
        return self._loader(
            TrainingStream(
                self._mixture(indices),
                self._batches(),
                self._share(training=True),
                cursor=self._cursor or Cursor.start(len(self.corpora)),
                tokens_per_step=self._tokens_per_step,
                tokens=self.tokens,
            )
        )

    def val_dataloader(self) -> DataLoader[MaskedBatch]:
        windows = validation_windows(
            self._windows("validation"),
            self.corpora,
            tokens=self._validation_tokens,
            seed=self.seed,
        )
        # A quarter of a step, so that validation needs no more memory than training.
        size = max(self.context, self._tokens_per_step // 4)
        share = self._share(training=False)
        return self._loader(
            ValidationStream(windows, self._batches(), share, tokens_per_batch=size)
        )

    def test_dataloader(self) -> DataLoader[MaskedBatch]:
        """The validation windows: pre-training keeps no third split."""
        return self.val_dataloader()

    def on_before_batch_transfer(self, batch: PackedBatch, dataloader_idx: int) -> PackedBatch:
        """Note where the run will stand once the step this batch belongs to is done."""
        if isinstance(batch, MaskedBatch) and self.trainer is not None and self.trainer.training:
            cursor = Cursor.from_flat(batch.cursor, corpora=len(self._sources))
            self._cursors[cursor.step] = cursor
            while len(self._cursors) > 4:
                self._cursors.popitem(last=False)
        return batch

    def origins(self, batch: MaskedBatch, micro_batch: int) -> list[dict[str, str | int]]:
        """Where the groups of a training batch of this rank come from, those of padding left out.

        Args:
            batch: A batch of the last steps.
            micro_batch: Its ordinal among the micro-batches of this rank in its step.
        """
        beginning = self._cursor or Cursor.start(len(self.corpora))
        return window_origins(
            batch,
            micro_batch,
            mixture=self._mixture(self._windows("train")),
            corpora=self.corpora,
            share=self._share(training=True),
            size=self._part_size(),
            before=self._cursors.get(batch.step, beginning),
            tokens_per_step=self._tokens_per_step,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands after the last finished optimiser step."""
        assert self.trainer is not None
        cursor = self._cursors.get(self.trainer.global_step, self._cursor)
        return {
            "cursor": cursor.flat() if cursor is not None else None,
            "corpora": [corpus.fingerprint for corpus in self.corpora],
        } | self._order_settings()

    def _order_settings(self) -> dict[str, Any]:
        return {"context": self.context, "seed": self.seed, "mask_rate": self._mask_rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where a checkpoint stands.

        Raises:
            CheckpointError: If the checkpoint was trained on other corpora or in another order.
        """
        if state_dict["corpora"] != [corpus.fingerprint for corpus in self.corpora]:
            raise CheckpointError(
                "the checkpoint was trained on other corpora",
                where="data.corpora",
                mend="name the same folders in the same order, or start anew without --ckpt_path",
            )
        refuse_other_settings(state_dict, self._order_settings())
        if state_dict["cursor"] is not None:
            self._cursor = Cursor.from_flat(state_dict["cursor"], corpora=len(self._sources))

    def _mixture(self, indices: list[WindowIndex]) -> Mixture:
        return Mixture(
            self.corpora,
            indices,
            weights=[source.weight for source in self._sources],
            seed=self.seed,
        )

    def _windows(self, split: Split) -> list[WindowIndex]:
        # What one corpus holds out is held out of all.
        rule = shared_validation(self.corpora)
        return [
            open_windows(
                corpus,
                context=self.context,
                split=split,
                extra_validation=rule.extra_digests,
                min_threshold=rule.threshold,
            )
            for corpus in self.corpora
        ]

    def _batches(self) -> BatchBuilder:
        return BatchBuilder(self.corpora, self.tokenizer, self._mask_rate, size=self._part_size())

    def _part_size(self) -> PartSize | None:
        """What every micro-batch is padded to, if it is.

        Raises:
            ConfigError: If the budget of a step cannot be cut into such micro-batches.
        """
        if not self._pad_to_budget:
            return None
        share = self._share(training=True)
        return part_size(self._tokens_per_step, share, context=self.context)

    def _share(self, *, training: bool) -> Share:
        trainer = self.trainer
        if trainer is None:
            return Share(rank=0, world=1, accumulate=1)
        return Share(
            rank=trainer.global_rank,
            world=trainer.world_size,
            accumulate=trainer.accumulate_grad_batches if training else 1,
        )

    def _loader(self, stream: IterableDataset[MaskedBatch]) -> DataLoader[MaskedBatch]:
        return DataLoader(
            stream,
            batch_size=None,
            num_workers=self._num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self._num_workers > 0,
        )
