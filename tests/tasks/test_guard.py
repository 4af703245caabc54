from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor

from biote.batch import LabelledBatch, MaskedBatch
from biote.corpora.shards import Corpus
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.errors import BioteError, ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.heads import SequenceHead
from biote.molecules import MOLECULES
from biote.tasks.checkpointing import LastCheckpoint
from biote.tasks.export import EncoderExport
from biote.tasks.guard import STOPPED_BATCH_FILE, LossGuard
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.regression import RegressionTask
from biote.tokenization import CharacterTokenizer

BROKEN = 5
"""Step that goes wrong, counted from 0."""


class Breaking(MaskedLMTask):
    """Goes wrong in one micro-batch of one step."""

    how = "none"
    micro_batch = 0

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        micro_batch = batch_idx % self.trainer.accumulate_grad_batches
        if batch.step == BROKEN and micro_batch == self.micro_batch:
            if self.how == "loss":
                return loss * math.nan
            if self.how == "gradient":
                # The root has no slope at 0: the loss is the same, its gradient is not a number.
                return loss + (0 * next(self.parameters())).sum().sqrt()
            if self.how == "spike":
                return loss * 20
        return loss


class Seen(Callback):
    """Notes the batches of every step, and how far the run came."""

    def __init__(self) -> None:
        self.batches: dict[int, list[MaskedBatch]] = {}
        self.steps = 0

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        batch = arguments[2]
        if isinstance(batch, MaskedBatch):
            self.batches.setdefault(batch.step, []).append(batch)
        self.steps = trainer.global_step


def breaking(tiny: EncoderConfig, how: str, micro_batch: int = 0) -> Breaking:
    task = Breaking(tiny, vocab_size=CharacterTokenizer().vocab_size)
    task.how, task.micro_batch = how, micro_batch
    return task


def stopped(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / STOPPED_BATCH_FILE).read_text())
    return content


def is_of_its_record(group: dict[str, Any]) -> bool:
    """Whether the tokens of a group are a part of the record it names."""
    corpus = Corpus(Path(group["corpus"]))
    tags = {corpus.tokenizer.tag_id(molecule) for molecule in MOLECULES}
    units = [u for u in range(corpus.n_units) if corpus.record_id(u) == group["record"]]
    assert units == [group["unit"]]
    tokens = corpus.tokens(units[0], group["first_token"], group["end_token"]).tolist()
    inner = group["ids"][1 : 1 + len(tokens)]
    return group["ids"][0] in tags and inner == tokens and len(tokens) > 0


@pytest.mark.parametrize("pad_to_budget", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_the_step_that_is_not_finite_is_named_with_its_records(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
    how: str,
    accumulate: int,
    pad_to_budget: bool,
) -> None:
    seen = Seen()
    trainer = make_trainer(
        LossGuard(),
        seen,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=1.0,
        limit_val_batches=0,
    )
    task = breaking(tiny, how, micro_batch=accumulate - 1)
    data = make_pretraining(pad_to_budget=pad_to_budget, tokens_per_step=200)
    with pytest.raises(BioteError) as error:
        trainer.fit(task, datamodule=data)
    content = stopped(tmp_path)
    assert content["step"] == BROKEN + 1
    assert content["loss" if how == "loss" else "gradient_norm"] == "nan"
    assert seen.steps <= BROKEN + 2
    parts = content["micro_batches"]
    assert [part["micro_batch"] for part in parts] == list(range(accumulate))
    for part, batch in zip(parts, seen.batches[BROKEN], strict=True):
        begin = 0
        for group in part["groups"]:
            assert is_of_its_record(group)
            tokens = torch.tensor(group["ids"])
            place = slice(begin, begin + len(tokens))
            tokens[group["masked"]] = data.tokenizer.mask_id
            assert torch.equal(tokens, batch.ids[place])
            begin += len(tokens)
        assert begin == batch.n_tokens - batch.padding_tokens
    # The message names records of the micro-batch that went wrong, where one can be told.
    named = parts[-1] if how == "loss" else parts[0]
    message = str(error.value)
    assert f"stopped at step {BROKEN + 1}" in message
    assert "\n" not in message
    assert str(tmp_path / STOPPED_BATCH_FILE) in message
    assert f"records {named['groups'][0]['record']}" in message


def test_no_checkpoint_is_written_once_the_step_went_wrong(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=1)
    trainer = make_trainer(LossGuard(), checkpoint, max_epochs=1, limit_val_batches=0)
    with pytest.raises(BioteError):
        trainer.fit(breaking(tiny, "gradient"), datamodule=make_pretraining())
    content = torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert content["global_step"] == BROKEN
    assert all(value.isfinite().all() for value in content["state_dict"].values())


def test_validation_does_not_begin_once_the_step_went_wrong(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
) -> None:
    trainer = make_trainer(LossGuard(), max_epochs=1, val_check_interval=BROKEN + 1)
    with pytest.raises(BioteError):
        trainer.fit(breaking(tiny, "loss"), datamodule=make_pretraining())
    assert trainer.global_step == BROKEN + 1
    assert "val_loss" not in trainer.callback_metrics


def test_the_last_step_is_looked_at_before_weights_are_exported(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    trainer = make_trainer(LossGuard(), EncoderExport(), max_steps=BROKEN + 1, limit_val_batches=0)
    with pytest.raises(BioteError, match=f"step {BROKEN + 1}"):
        trainer.fit(breaking(tiny, "loss"), datamodule=make_pretraining())
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize(
    ("factor", "mean_over", "stops"), [(5.0, 4, True), (40.0, 4, False), (None, 4, False),
                                       (5.0, 6, False)]
)  # fmt: skip
def test_a_jump_of_the_loss_stops_where_that_is_wanted(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
    factor: float | None,
    mean_over: int,
    stops: bool,
) -> None:
    guard = LossGuard(spike_factor=factor, mean_over=mean_over)
    trainer = make_trainer(guard, max_epochs=1, limit_val_batches=0)
    data = make_pretraining()
    if not stops:
        trainer.fit(breaking(tiny, "spike"), datamodule=data)
        assert not (tmp_path / STOPPED_BATCH_FILE).exists()
        return
    with pytest.raises(BioteError, match=f"step {BROKEN + 1}: the loss is .* running mean"):
        trainer.fit(breaking(tiny, "spike"), datamodule=data)
    content = stopped(tmp_path)
    assert content["loss"] > 5 * content["running_mean"]


def test_the_running_mean_is_continued(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=4)
    options: dict[str, Any] = {"limit_val_batches": 0}
    guard = LossGuard(spike_factor=5.0, mean_over=4)
    make_trainer(guard, checkpoint, max_steps=4, **options).fit(
        breaking(tiny, "none"), datamodule=make_pretraining()
    )
    losses = guard.state_dict()
    assert losses["seen"] == 4
    # Only with the steps before the stop are there enough to tell a jump.
    trainer = make_trainer(
        LossGuard(spike_factor=5.0, mean_over=4), checkpoint, max_epochs=1, **options
    )
    with pytest.raises(BioteError, match=f"step {BROKEN + 1}"):
        trainer.fit(
            breaking(tiny, "spike"),
            datamodule=make_pretraining(),
            ckpt_path=str(tmp_path / "last.ckpt"),
        )
    # The cursor of a step after a resume leads to its records, too.
    for part in stopped(tmp_path)["micro_batches"]:
        assert all(is_of_its_record(group) for group in part["groups"])


@pytest.mark.parametrize("first_after_resume", [False, True])
def test_the_first_step_of_a_run_or_of_a_continued_one_has_records(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first_after_resume: bool,
) -> None:
    ckpt_path = None
    if first_after_resume:
        checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=3)
        make_trainer(checkpoint, max_steps=3, limit_val_batches=0).fit(
            breaking(tiny, "none"), datamodule=make_pretraining()
        )
        ckpt_path = str(tmp_path / "last.ckpt")
    first = 3 if first_after_resume else 0
    monkeypatch.setitem(globals(), "BROKEN", first)
    trainer = make_trainer(LossGuard(), max_epochs=1, limit_val_batches=0)
    with pytest.raises(BioteError, match=f"step {first + 1}: "):
        trainer.fit(breaking(tiny, "loss"), datamodule=make_pretraining(), ckpt_path=ckpt_path)
    (part,) = stopped(tmp_path)["micro_batches"]
    assert all(is_of_its_record(group) for group in part["groups"])


@pytest.mark.parametrize("enabled", [False, True])
def test_weights_do_not_depend_on_being_watched(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
    enabled: bool,
) -> None:
    states = []
    for callbacks in ([], [LossGuard(enabled, spike_factor=100.0, mean_over=1)]):
        task = breaking(tiny, "none")
        trainer = make_trainer(*callbacks, max_epochs=1, limit_val_batches=0)
        trainer.fit(task, datamodule=make_pretraining())
        states.append(task.state_dict())
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())
    assert not (tmp_path / STOPPED_BATCH_FILE).exists()


def test_a_guard_that_is_not_enabled_lets_the_run_go_on(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
) -> None:
    trainer = make_trainer(LossGuard(enabled=False), max_epochs=1, limit_val_batches=0)
    trainer.fit(breaking(tiny, "loss"), datamodule=make_pretraining())
    assert trainer.global_step > BROKEN + 1


def test_rows_of_a_table_are_named(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_table: Callable[..., TableDataModule],
    tmp_path: Path,
) -> None:
    rows: list[tuple[str, ...]] = []

    class BreakingRegression(RegressionTask):
        def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
            rows.append(batch.row_ids)
            loss = super().training_step(batch, batch_idx)
            return loss * math.inf if self.trainer.global_step == 1 else loss

    data = make_table()
    task = BreakingRegression(
        tiny, head=SequenceHead, vocab_size=data.vocab_size, n_outputs=data.n_outputs
    )
    trainer = make_trainer(LossGuard(), max_epochs=2)
    with pytest.raises(BioteError, match="step 2: the loss is inf; records row"):
        trainer.fit(task, datamodule=data)
    (part,) = stopped(tmp_path)["micro_batches"]
    assert [group["record"] for group in part["groups"]] == list(rows[1])
    assert all(group["masked"] == [] and len(group["ids"]) > 8 for group in part["groups"])


@pytest.mark.parametrize("options", [{"spike_factor": 1.0}, {"spike_factor": math.nan},
                                     {"mean_over": 0}])  # fmt: skip
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="guard"):
        LossGuard(**options)


@pytest.mark.gpu
def test_the_host_does_not_wait_for_the_step_it_has_just_asked_for() -> None:
    # A step that takes long: the host must be back before it is done.
    guard = LossGuard(check_gradient=False)
    trainer: Any = type("T", (), {"global_step": 0, "world_size": 1, "precision_plugin": None})()
    guard.on_train_start(trainer, None)  # type: ignore[arg-type]
    batch: Any = object()
    loss = torch.ones((), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 4):
            trainer.global_step = step
            torch.cuda._sleep(200_000_000)
            done = torch.cuda.Event()
            done.record()
            guard.on_train_batch_end(trainer, None, {"loss": loss}, batch, 0)  # type: ignore[arg-type]
            assert not done.query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
