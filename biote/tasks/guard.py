"""Stops a run that has gone wrong, and keeps the batch on which it did."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from biote.atomic import write_text_atomic
from biote.batch import LabelledBatch, MaskedBatch, PackedBatch
from biote.contrastive_batch import ContrastiveBatch
from biote.errors import BioteError, ConfigError
from biote.tasks.flops import unpadded_lengths
from biote.tasks.gradients import gradient_norm
from biote.tasks.ranks import of_all_ranks

logger = logging.getLogger(__name__)

STOPPED_BATCH_FILE: Final = "stopped_batch.json"
_NAMED_RECORDS: Final = 3

Origin = Mapping[str, str | int]
"""Where a group comes from: at least its ``record``."""


@runtime_checkable
class NamesRecords(Protocol):
    """Data that can tell which records a training batch was made of."""

    def origins(self, batch: MaskedBatch, micro_batch: int) -> Sequence[Origin]:
        """Where the groups of a batch of this rank come from, those of padding left out.

        Args:
            batch: A batch of the last steps.
            micro_batch: Its ordinal among the micro-batches of this rank in its step.
        """


@dataclass(frozen=True)
class _Watched:
    """A finished step whose figures may still be on their way from the device."""

    step: int
    figures: Tensor
    """Loss of the whole global step and norm of its gradient, (2,), on the host."""
    arrived: torch.cuda.Event | None
    batches: list[PackedBatch]
    losses: list[Tensor]


class LossGuard(Callback):
    """Stops the run when the loss or the gradient of a step is not finite, or the loss jumps.

    The batch is written to ``stopped_batch.json`` in the run folder: records, token ids and masked
    positions of every group, over all ranks. No checkpoint is written from then on, so the last
    one is from before. Figures are looked at one step late, so that the device never waits.

    Args:
        enabled: Whether to watch at all.
        spike_factor: Stop when the loss is more than so many times its running mean; null lets it
            jump.
        mean_over: Steps of the running mean; so many have to pass before a jump can be one.
        check_gradient: Whether to look at the norm of the gradient, too. Where a gradient scaler
            skips steps with infinite gradients, it is never looked at.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        enabled: bool = True,
        spike_factor: float | None = None,
        mean_over: int = 100,
        check_gradient: bool = True,
    ) -> None:
        if spike_factor is not None and not spike_factor > 1:
            raise ConfigError(
                f"{spike_factor} would stop every run",
                where="guard.spike_factor",
                mend="give a number above 1, or null",
            )
        if mean_over < 1:
            raise ConfigError(
                f"{mean_over} steps have no mean", where="guard.mean_over", mend="give at least 1"
            )
        self._enabled = enabled
        self._spike_factor = spike_factor
        self._mean_over = mean_over
        self._check_gradient = check_gradient
        self._trainer: Trainer | None = None
        self._step = 0
        self._seen, self._mean = 0, 0.0
        self._forget()

    def _forget(self) -> None:
        self._batches: list[PackedBatch] = []
        self._losses: list[Tensor] = []
        self._norm: Tensor | None = None
        self._watched: _Watched | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where the run stands."""
        self._forget()
        self._trainer = trainer
        self._step = trainer.global_step

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if self._enabled and self._check_gradient and scaler is None:
            self._norm = gradient_norm(pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PackedBatch,
        batch_idx: int,
    ) -> None:
        if not self._enabled:
            return
        self._batches.append(batch)
        self._losses.append(outputs["loss"].detach())
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            finished = self._begin_to_fetch(trainer)
            self._settle()
            self._watched = finished

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation may choose what is kept: look at the last step before."""
        self._settle()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last step, before weights are exported."""
        self._settle()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep nothing of the run."""
        self._forget()
        self._trainer = None

    def state_dict(self) -> dict[str, Any]:
        """The running mean; asked for when a checkpoint is written, so look at the last step."""
        self._settle()
        return {"seen": self._seen, "mean": self._mean}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the running mean of a checkpoint."""
        self._seen, self._mean = state_dict["seen"], state_dict["mean"]

    def _begin_to_fetch(self, trainer: Trainer) -> _Watched:
        """Let the figures of the step that is finished come to the host, without waiting."""
        loss = torch.stack(self._losses).sum().float()
        if trainer.world_size > 1:
            # Not by the strategy, whose reduction makes the host wait. What is not finite on one
            # rank is not finite in the sum, so all ranks stop together.
            torch.distributed.all_reduce(loss)
            loss = loss / trainer.world_size
        norm = self._norm if self._norm is not None else torch.zeros_like(loss)
        figures = torch.stack([loss, norm.to(loss.device)])
        arrived = None
        if figures.device.type == "cuda":
            host = torch.empty(2, pin_memory=True)
            host.copy_(figures, non_blocking=True)
            figures, arrived = host, torch.cuda.Event()
            arrived.record()
        watched = _Watched(trainer.global_step, figures, arrived, self._batches, self._losses)
        self._batches, self._losses, self._norm = [], [], None
        return watched

    def _settle(self) -> None:
        """Look at the last step whose figures were fetched, if it was not looked at yet."""
        watched, self._watched = self._watched, None
        if watched is None or self._trainer is None:
            return
        if watched.arrived is not None:
            watched.arrived.synchronize()
        loss, norm = watched.figures.tolist()
        reason = self._reason(loss, norm)
        if reason is not None:
            self._stop(self._trainer, watched, reason=reason)
        self._seen = min(self._seen + 1, self._mean_over)
        self._mean += (loss - self._mean) / self._seen

    def _reason(self, loss: float, norm: float) -> str | None:
        """Why to stop, if there is a reason."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the norm of the gradient is {norm}"
        if (
            self._spike_factor is not None
            and self._seen == self._mean_over
            and loss > self._spike_factor * self._mean
        ):
            return f"the loss is {loss:.4g}, its running mean {self._mean:.4g}"
        return None

    def _stop(self, trainer: Trainer, watched: _Watched, *, reason: str) -> None:
        """Write down the step and stop, on all ranks."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        mine = [
            {
                "rank": trainer.global_rank,
                "micro_batch": number,
                "loss": _number(float(loss)),
                "groups": _groups(batch, _origins(data, batch, number)),
            }
            for number, (batch, loss) in enumerate(
                zip(watched.batches, watched.losses, strict=True)
            )
        ]
        batches = [batch for rank in of_all_ranks(trainer, mine) for batch in rank]
        path = Path(trainer.default_root_dir) / STOPPED_BATCH_FILE
        if trainer.is_global_zero:
            loss, norm = watched.figures.tolist()
            content = {
                "step": watched.step,
                "reason": reason,
                "loss": _number(loss),
                "running_mean": self._mean if self._seen else None,
                "gradient_norm": _number(norm) if self._check_gradient else None,
                "micro_batches": batches,
            }
            write_text_atomic(path, json.dumps(content, allow_nan=False) + "\n")
        raise BioteError(
            f"stopped at step {watched.step}: {reason}; {_named(batches)}",
            where=str(path),
            mend="look at the records; if nothing is wrong with them, lower the learning rates or "
            "set trainer.gradient_clip_val. The last checkpoint, if there is one, is from before",
        )


def _origins(data: object, batch: PackedBatch, micro_batch: int) -> Sequence[Origin]:
    """Where the groups of a batch come from; empty where the data cannot tell."""
    if isinstance(batch, LabelledBatch):
        return [{"record": row} for row in batch.row_ids]
    if isinstance(batch, MaskedBatch) and isinstance(data, NamesRecords):
        return data.origins(batch, micro_batch)
    return []


def _groups(
    batch: PackedBatch | ContrastiveBatch, origins: Sequence[Origin]
) -> list[dict[str, Any]]:
    """Groups of a batch with their token ids before masking, padding left out."""
    if not isinstance(batch, PackedBatch):  # pairs by number, whose letters are elsewhere
        return [{"record": row, "ids": [], "masked": []} for row in batch.row_ids]
    ids, masked = batch.ids.cpu().clone(), torch.empty(0, dtype=torch.int64)
    if isinstance(batch, MaskedBatch):
        masked = batch.masked.cpu()
        ids[masked] = batch.targets.cpu()
    unknown: dict[str, Any] = {"record": None}
    groups, begin = [], 0
    for length, origin in zip_longest(unpadded_lengths(batch), origins, fillvalue=None):
        assert length is not None, "more origins than groups"
        here = masked[(masked >= begin) & (masked < begin + length)] - begin
        groups.append(
            {
                **(origin or unknown),
                "ids": ids[begin : begin + length].tolist(),
                "masked": here.tolist(),
            }
        )
        begin += length
    return groups


def _named(batches: Sequence[Mapping[str, Any]]) -> str:
    """The records of the batches whose loss is not finite, or else of all, shortened."""
    broken = [batch for batch in batches if isinstance(batch["loss"], str)]
    records = list(
        dict.fromkeys(
            group["record"]
            for batch in broken or batches
            for group in batch["groups"]
            if group["record"] is not None
        )
    )
    if not records:
        return "its records are not known to the data"
    more = len(records) - _NAMED_RECORDS
    listed = ", ".join(records[:_NAMED_RECORDS])
    return f"records {listed} and {more} more" if more > 0 else f"records {listed}"


def _number(value: float) -> float | str:
    """A number as JSON can hold it, which has neither nan nor inf."""
    return value if math.isfinite(value) else str(value)
