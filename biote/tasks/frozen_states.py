"""States of a frozen encoder, computed once for every distinct sequence and kept as Parquet.

Legend: N sequences, W windows, T packed tokens, D width.

A folder of states belongs to one encoder (by its weights), one list of sequences with its
tokenizer and context, one pooling and one precision; anything else has a folder of its own. It is
written in parts, each whole or not there, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from biote.atomic import atomic_path, write_text_atomic
from biote.contrastive_batch import SequenceSource, WindowBatch
from biote.errors import DataError
from biote.modules.encoder import Encoder
from biote.modules.pooling import pool
from biote.modules.unpack import group_of_tokens

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
PART_SEQUENCES: Final = 4_096
"""Sequences of a part."""

_LOGGED_EVERY_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class StatesKey:
    """All that decides the states of a list of sequences."""

    side: str
    weights: str
    """Fingerprint of the encoder's weights."""

    sequences: str
    """Fingerprint of the sequences, their tokenizer and context."""

    pooling: str
    precision: str
    format_version: int = FORMAT_VERSION

    @property
    def text(self) -> str:
        """The key as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def folder(self) -> str:
        """Name of the folder of these states."""
        return f"{self.side}-{hashlib.sha256(self.text.encode()).hexdigest()[:20]}"


@dataclass(frozen=True)
class FrozenStates:
    """States of N sequences and what they were computed from."""

    states: Tensor
    """(N, D), float32, on the CPU."""

    windows: npt.NDArray[np.int64]
    """Windows that were averaged, (N,)."""

    computed: int
    """Sequences that were encoded now; the others were read."""

    @property
    def in_several_windows(self) -> int:
        """Sequences longer than the context."""
        return int((self.windows > 1).sum())


def frozen_states(
    source: SequenceSource,
    encoder: Encoder,
    key: StatesKey,
    *,
    folder: Path,
    tokens: int,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
    part_sequences: int = PART_SEQUENCES,
) -> FrozenStates:
    """Read the states of all sequences, and compute those that are not there.

    The state of a sequence longer than the context is the mean over all its windows: of their
    first tokens, each window counting the same, or of all their tokens, tags and end token
    included, each token counting the same.

    Args:
        source: The sequences.
        encoder: The encoder, on ``device``.
        key: What the states belong to.
        folder: Folder of all states; those of ``key`` are in a folder in it.
        tokens: Tokens of a batch.
        device: Where to compute.
        context: Makes what the encoder runs in, for example a lower precision.
        part_sequences: Sequences of a part.

    Raises:
        DataError: If a part there is not what its name says, or a state is not finite.
    """
    here = folder / key.folder
    states, windows = [], []
    computed = 0
    progress = _Progress(key.side, source.number)
    for start in range(0, source.number, part_sequences):
        stop = min(start + part_sequences, source.number)
        path = here / f"part-{start:09d}-{stop:09d}.parquet"
        if not path.exists():
            table = _compute(
                source, encoder, key, start, stop, tokens=tokens, device=device, context=context,
                progress=progress,
            )  # fmt: skip
            with atomic_path(path) as partial:
                pq.write_table(table, partial)
            computed += stop - start
        part, counts = _read(path, key, stop - start)
        states.append(part)
        windows.append(counts)
    if computed:
        write_text_atomic(here / "states.json", key.text + "\n")
    found = FrozenStates(torch.cat(states), np.concatenate(windows), computed)
    logger.info(
        "States of %d %ss: %d computed, %d read from %s; %d longer than the context, averaged "
        "over %d windows.",
        source.number,
        key.side,
        computed,
        source.number - computed,
        here,
        found.in_several_windows,
        int(found.windows[found.windows > 1].sum()),
    )
    return found


@torch.no_grad()
def _compute(
    source: SequenceSource,
    encoder: Encoder,
    key: StatesKey,
    start: int,
    stop: int,
    *,
    tokens: int,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
    progress: _Progress,
) -> pa.Table:
    """The states of some sequences as a table."""
    width = encoder.config.width
    sums = torch.zeros(stop - start, width, device=device)
    weights = torch.zeros(stop - start, device=device)
    windows = torch.zeros(stop - start, dtype=torch.int64)
    lengths = torch.zeros(stop - start, dtype=torch.int64)
    encoder.eval()
    for batch in source.windows(start, stop, tokens=tokens):
        owners = batch.sequences - start
        windows.index_add_(0, owners, torch.ones_like(owners))
        lengths.index_add_(0, owners, torch.tensor(batch.lengths))
        moved = batch.to(device)
        with context():
            states = encoder(moved).float()  # (T, D)
        totals, counts = _pooled(states, moved, key.pooling)
        owners = owners.to(device)
        sums.index_add_(0, owners, totals)
        weights.index_add_(0, owners, counts)
        progress.tell(start + int(owners[-1]) + 1)
    means = (sums / weights[:, None]).cpu()
    if not bool(torch.isfinite(means).all()):
        row = int((~torch.isfinite(means)).any(1).nonzero()[0])
        raise DataError(
            "its state is not finite",
            where=f"{key.side} {start + row}",
            mend="use a higher trainer.precision, or another encoder",
        )
    flat = pa.array(means.numpy().reshape(-1))
    return pa.table(
        {
            "number": pa.array(np.arange(start, stop)),
            "windows": pa.array(windows.numpy()),
            "tokens": pa.array(lengths.numpy()),
            "state": pa.FixedSizeListArray.from_arrays(flat, width),
        },
        metadata={"key": key.text},
    )


def _pooled(states: Tensor, batch: WindowBatch, pooling: str) -> tuple[Tensor, Tensor]:
    """Sum of the states of every window that count, (B, D), and their number, (B,)."""
    if pooling == "first":
        first = pool(states, batch, "first")
        return first, first.new_ones(batch.n_groups)
    sums = states.new_zeros(batch.n_groups, states.shape[1])
    sums.index_add_(0, group_of_tokens(batch), states)
    return sums, batch.cu_seqlens.diff().to(states.dtype)


def _read(path: Path, key: StatesKey, number: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
    mend = "delete the folder it is in"
    try:
        table = pq.read_table(path)
        there = (table.schema.metadata or {}).get(b"key", b"").decode()
        column = table["state"].combine_chunks()
        width = table.schema.field("state").type.list_size
    except (pa.ArrowException, KeyError, AttributeError) as error:
        raise DataError("not a table of states", where=str(path), mend=mend) from error
    if there != key.text or table.num_rows != number:
        raise DataError("it holds the states of something else", where=str(path), mend=mend)
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(number, width)
    return torch.from_numpy(values.copy()), table["windows"].to_numpy().copy()


class _Progress:
    """Logs a line now and then."""

    def __init__(self, side: str, number: int) -> None:
        self._side = side
        self._number = number
        self._last = time.monotonic()

    def tell(self, done: int) -> None:
        if time.monotonic() - self._last > _LOGGED_EVERY_SECONDS:
            self._last = time.monotonic()
            logger.info("Encoding: %d of %d %ss.", done, self._number, self._side)
