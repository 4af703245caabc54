"""Gene-protein pairs: a few to learn an alignment from, the others to test it on.

File: the Parquet table of `biote corpus pairs`.

Legend: N pairs, B pairs of a batch, K kinds of negatives.

Source: paper, Methods (gene-protein CLIP).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from biote.contrastive_batch import ContrastiveBatch, Negatives, Side
from biote.datamodules.clip.negatives import draw_others
from biote.datamodules.clip.sequences import PairSequences
from biote.datamodules.clip.splitting import (
    PairSplit,
    SplitPairs,
    WholeClusters,
    pair_groups,
    split_pairs,
)
from biote.datamodules.clip.table import PairColumns, read_columns
from biote.datamodules.resume import refuse_other_settings
from biote.datamodules.sampler import key, permute
from biote.errors import CheckpointError, ConfigError
from biote.paths import existing_file
from biote.splits.homology import SIMILAR_ABOVE
from biote.tokenization import Tokenizer, resolve_tokenizer

logger = logging.getLogger(__name__)

Partners = Literal["true", "shuffled"]
Int64s = npt.NDArray[np.int64]


class ClipDataModule(LightningDataModule):
    """Genes with their proteins, split into a small training and a large test part.

    Pairs with the same gene or the same protein stand on one side and are no negatives of each
    other; a pair that repeats both sequences is left out. Training batches are drawn anew in
    every step, without repeating a pair in a batch.

    Args:
        root: Parquet table of ``biote corpus pairs``, or a folder with ``pairs.parquet``.
        tokenizer: Of genes, and of proteins where ``protein_tokenizer`` is null: ``character`` or
            a tokenizer, corpus or encoder folder; null takes that of ``model.encoder_checkpoint``.
        protein_tokenizer: Of proteins, where they have an encoder of their own; null takes that
            of ``model.protein_encoder_checkpoint``.
        batch_size: Pairs of an optimiser step; all training pairs where there are fewer.
        split: ``random``; ``cluster`` keeps similar proteins and overlapping genes on one side;
            ``column`` keeps together what ``group_column`` says.
        group_column: Column of the table with a group for every pair, for ``split: column``.
        similar_above: Proteins with a higher alignment score per residue are similar.
        train_fraction: Share of the pairs to train on.
        split_seed: Chooses the groups to train on.
        split_file: Where the split is written once and read ever after.
        partners: ``shuffled`` gives every gene another gene's protein, within its side: the
            control in which there is nothing to find.
        context: Most tokens of a window; longer sequences are cut into several.
        epoch_steps: Steps that the trainer calls an epoch; a checkpoint is written after each.
        seed: Chooses the pairs of every step, and shuffled partners.
    """

    unit = ""
    fold = None
    tested_split = "test"

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        protein_tokenizer: str | None = None,
        *,
        batch_size: int,
        split: PairSplit,
        split_file: Path,
        group_column: str | None = None,
        similar_above: float = SIMILAR_ABOVE,
        train_fraction: float = 0.05,
        split_seed: int = 0,
        partners: Partners = "true",
        context: int = 1024,
        epoch_steps: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 2),
            ("epoch_steps", epoch_steps, 1),
            ("context", context, 3),
        ):
            if value < least:
                raise ConfigError(f"{value}", where=f"data.{name}", mend=f"give at least {least}")
        if tokenizer is None:
            raise ConfigError(
                "no tokenizer",
                where="data.tokenizer",
                mend="give 'character', a tokenizer or corpus folder, or set "
                "model.encoder_checkpoint",
            )
        self.tokenizer: Tokenizer = resolve_tokenizer(tokenizer)
        self.protein_tokenizer: Tokenizer = (
            self.tokenizer if protein_tokenizer is None else resolve_tokenizer(protein_tokenizer)
        )
        self.context = context
        self.seed = seed
        self._root = Path(root)
        self._batch_size = batch_size
        self._split: PairSplit = split
        self._group_column = group_column
        self._similar_above = similar_above
        self._train_fraction = train_fraction
        self._split_seed = split_seed
        self._split_file = Path(split_file)
        self._partners: Partners = partners
        self._epoch_steps = epoch_steps

    @property
    def benchmark(self) -> str:
        """Name in results: the split is part of it."""
        shuffled = " shuffled" if self._partners == "shuffled" else ""
        return f"clip {self._split}{shuffled}"

    @property
    def vocab_size(self) -> int:
        """Number of token ids of the encoder of genes."""
        return self.tokenizer.vocab_size

    @cached_property
    def columns(self) -> PairColumns:
        """The pairs, without their letters.

        Raises:
            DataError: If they cannot be read.
        """
        path = self._root / "pairs.parquet" if self._root.is_dir() else self._root
        existing_file(path, where="data.root", mend="write it with biote corpus pairs")
        columns = read_columns(path, group_column=self._group_column)
        logger.info(
            "Gene-protein pairs: %d pairs of %d genes and %d proteins in %d genomes; %d rows "
            "repeat another one's two sequences and are left out.",
            len(columns.ids),
            len(columns.rows[Side.GENE]),
            len(columns.rows[Side.PROTEIN]),
            len(np.unique(columns.genomes)),
            columns.repeated,
        )
        return columns

    def sequences(self, side: Side) -> PairSequences:
        """The distinct genes or proteins of all pairs.

        Args:
            side: Which of the two.
        """
        tokenizer = self.tokenizer if side is Side.GENE else self.protein_tokenizer
        return PairSequences(self.columns, side, tokenizer, context=self.context)

    @cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 over ids, genes and proteins of all pairs."""
        columns = self.columns
        digest = hashlib.sha256()
        genes, proteins = columns.digests[Side.GENE], columns.digests[Side.PROTEIN]
        for pair, gene, protein in zip(
            columns.ids, columns.genes.tolist(), columns.proteins.tolist(), strict=True
        ):
            digest.update(repr((pair, genes[gene], proteins[protein])).encode())
        return digest.hexdigest()

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Whether each pair is trained on, (N,)."""
        return self.sides.trained

    @cached_property
    def sides(self) -> SplitPairs:
        """Which pairs are trained on, and the groups that stay on one side."""
        by = {
            "cluster": f" above {self._similar_above}, training proteins aligned with all",
            "column": f" {self._group_column}",
        }
        clustered = self._split == "cluster"
        sides = split_pairs(
            self.columns,
            lambda: pair_groups(self.columns, self._split, similar_above=self._similar_above),
            WholeClusters(self.columns, self._similar_above) if clustered else None,
            rule=f"{self._split}{by.get(self._split, '')}, {self._train_fraction} to train",
            train_fraction=self._train_fraction,
            seed=self._split_seed,
            fingerprint=self.data_fingerprint,
            path=self._split_file,
        )
        logger.info(
            "Gene-protein pairs: %d train, %d test (%s).",
            sides.trained.sum(),
            (~sides.trained).sum(),
            self._split,
        )
        return sides

    @cached_property
    def partners(self) -> Int64s:
        """Pair whose protein each pair's gene is given, (N,): its own, unless they are shuffled."""
        partners = np.arange(len(self.columns.ids))
        if self._partners == "shuffled":
            generator = np.random.default_rng(self.seed)
            for side in (self.trained, ~self.trained):
                shuffled = generator.permutation(np.flatnonzero(side))
                partners[shuffled] = np.roll(shuffled, 1)  # no pair keeps its own
        return partners

    @cached_property
    def train_genes(self) -> Int64s:
        """Distinct genes of the training pairs."""
        return np.unique(self.columns.genes[self.trained])

    @cached_property
    def train_proteins(self) -> Int64s:
        """Distinct proteins of the training pairs."""
        return np.unique(self.columns.proteins[self.trained])

    @cached_property
    def split_fingerprint(self) -> str:
        """SHA-256 over which pair stands on which side, and the partners."""
        content = f"{self.data_fingerprint} {self._partners}".encode()
        return hashlib.sha256(
            content + self.trained.tobytes() + self.partners.tobytes()
        ).hexdigest()

    def setup(self, stage: str) -> None:
        """Read and split the pairs before the model is built.

        Raises:
            DataError: If they cannot be used.
        """
        _ = self.partners

    def train_dataloader(self) -> DataLoader[ContrastiveBatch]:
        trained = np.flatnonzero(self.trained)
        trainer = self.trainer
        steps = _StepPairs(
            len(trained),
            self._batch_size,
            epoch_steps=self._epoch_steps,
            seed=self.seed,
            steps_done=lambda: trainer.global_step if trainer else 0,
        )
        return self._loader(
            _PairBatches(self.columns, self.sides.groups, self.partners, trained, None), steps
        )

    def test_dataloader(self) -> DataLoader[ContrastiveBatch]:
        tested = np.flatnonzero(~self.trained)
        columns = self.columns
        partner = self.partners[tested]
        # What is matched are the proteins that are compared; those of the partners, if shuffled.
        others = draw_others(
            twins=columns.twins[partner],
            genomes=columns.genomes[partner],
            gene_lengths=columns.gene_lengths[partner],
            protein_lengths=columns.protein_lengths[partner],
            seed=self._split_seed,
        )
        batches = _PairBatches(columns, self.sides.groups, self.partners, tested, others)
        starts = range(0, len(tested), self._batch_size)
        chunks = [range(s, min(s + self._batch_size, len(tested))) for s in starts]
        return self._loader(batches, [np.array(chunk, np.int64) for chunk in chunks])

    def predict_dataloader(self) -> DataLoader[ContrastiveBatch]:
        return self.test_dataloader()

    def _loader(self, batches: Dataset[ContrastiveBatch], steps: Any) -> DataLoader[Any]:
        return DataLoader(
            batches, sampler=steps, batch_size=None, pin_memory=torch.cuda.is_available()
        )

    def state_dict(self) -> dict[str, Any]:
        """What, with the number of steps done, decides the pairs of every later step."""
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
                mend="use the table and the split file it was trained with",
            )
        refuse_other_settings(state_dict, self._order_settings())


class _StepPairs(Sampler[Int64s]):
    """The pairs of every step: a function of seed and step alone."""

    def __init__(
        self,
        pairs: int,
        batch_size: int,
        *,
        epoch_steps: int,
        seed: int,
        steps_done: Callable[[], int],
    ) -> None:
        self._pairs = pairs
        self._size = min(batch_size, pairs)
        self._epoch_steps = epoch_steps
        self._seed = seed
        self._steps_done = steps_done

    def __len__(self) -> int:
        return self._epoch_steps

    def __iter__(self) -> Iterator[Int64s]:
        begin = self._steps_done()
        end = (begin // self._epoch_steps + 1) * self._epoch_steps
        for step in range(begin, end):
            yield permute(np.arange(self._size), self._pairs, key(self._seed, step))


class _PairBatches(Dataset[ContrastiveBatch]):
    """Builds batches; its keys are positions among some of the pairs."""

    def __init__(
        self,
        columns: PairColumns,
        groups: Int64s,
        partners: Int64s,
        pairs: Int64s,
        others: Int64s | None,
    ) -> None:
        self._columns = columns
        self._groups = groups
        self._partners = partners
        self._pairs = pairs
        self._others = others

    def __getitem__(self, places: Int64s) -> ContrastiveBatch:
        columns = self._columns
        pairs = self._pairs[places]
        proteins_of = self._partners[pairs]
        drawn = np.zeros((len(pairs), 0), np.int64)
        if self._others is not None:
            drawn = self._others[places]  # (B, K)
            assert drawn.shape[1] == len(Negatives)
        others_of = np.where(drawn >= 0, self._partners[self._pairs[drawn]], -1)
        others = np.where(drawn >= 0, columns.proteins[others_of], -1)
        return ContrastiveBatch(
            genes=torch.from_numpy(columns.genes[pairs]),
            proteins=torch.from_numpy(columns.proteins[proteins_of]),
            twins=torch.from_numpy(columns.twins[proteins_of]),
            genomes=torch.from_numpy(columns.genomes[proteins_of]),
            gene_lengths=torch.from_numpy(columns.gene_lengths[proteins_of]),
            protein_lengths=torch.from_numpy(columns.protein_lengths[proteins_of]),
            others=torch.from_numpy(others),
            groups=torch.from_numpy(self._groups[pairs]),
            row_ids=tuple(columns.ids[i] for i in pairs.tolist()),
            partner_ids=tuple(
                tuple("" if i < 0 else columns.ids[i] for i in (own, *row))
                for own, row in zip(proteins_of.tolist(), others_of.tolist(), strict=True)
            ),
        )
