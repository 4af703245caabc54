"""REFERENCE 6, 10: data, schedule and optimiser of a resumed run go on where they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.errors import CheckpointError
from biote.modules.base import EncoderModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import DeltaGHead
from biote.modules.mup import FineTuningOptimizer, PretrainingOptimizer
from biote.tasks import MaskedLMTask, RegressionTask
from biote.tasks.checkpointing import LastCheckpoint
from biote.tokenization import CharacterTokenizer

Kind = Literal["pretrain", "finetune"]
VOCABULARY = CharacterTokenizer().vocab_size


class Trace(Callback):
    """Notes tokens, learning rate and loss of every micro-batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[int, ...], float, float]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.batches.append((tuple(batch.ids.tolist()), rate, float(outputs["loss"])))


class StopAfter(Callback):
    """Asks the trainer to stop after an optimiser step, as a time limit does."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        if trainer.global_step == self._step:
            trainer.should_stop = True


Outcome = tuple[EncoderModule, Trace]
Run = Callable[..., Outcome]


@pytest.fixture
def run(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_table: Callable[..., TableDataModule],
    make_pretraining: Callable[..., PretrainingDataModule],
) -> Run:
    """A run of pre-training (about twelve steps), or of fine-tuning (three epochs of five)."""

    def start(
        kind: Kind,
        *callbacks: Callback,
        checkpoint: Path | None = None,
        num_workers: int = 0,
        **options: Any,
    ) -> Outcome:
        model: EncoderModule
        data: Any
        if kind == "pretrain":
            model = MaskedLMTask(
                tiny, optimizer=PretrainingOptimizer(lr=0.02), vocab_size=VOCABULARY
            )
            data = make_pretraining(num_workers=num_workers)
            options = {"max_epochs": 1, "check_val_every_n_epoch": None} | options
        else:
            model = RegressionTask(
                tiny,
                head=DeltaGHead,
                optimizer=FineTuningOptimizer(lr_head=0.02, lr_embedding=0.02, lr_body=2e-4),
                n_outputs=1,
                vocab_size=VOCABULARY,
            )
            data = make_table(train=38, num_workers=num_workers)
            options = {"max_epochs": 3} | options
        trace = Trace()
        trainer = make_trainer(*callbacks, trace, gradient_clip_val=1.0, **options)
        trainer.fit(model, datamodule=data, ckpt_path=checkpoint)
        return model, trace

    return start


def every(folder: Path, **options: Any) -> ModelCheckpoint:
    """Keeps every checkpoint that is saved."""
    return ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **options)


def saved(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by step, a later one of the same step passed over."""
    return {int(path.stem[5:]): path for path in folder.glob("step=*.ckpt") if "-" not in path.stem}


def assert_same(
    resumed: Outcome, whole: Outcome, *, done: int, but_for: tuple[str, ...] = ()
) -> None:
    """Check that a run is the rest of another, bit for bit.

    Args:
        resumed: The run that was resumed.
        whole: The uninterrupted run.
        done: Micro-batches that were done before.
        but_for: What may differ.
    """
    assert resumed[1].batches == whole[1].batches[done:]
    assert resumed[0].trainer.global_step == whole[0].trainer.global_step
    for name, value in whole[0].state_dict().items():
        if name not in but_for:
            assert torch.equal(resumed[0].state_dict()[name], value), name


@pytest.mark.parametrize(
    ("moment", "options", "expected"),
    [
        ("after every step", {"every_n_train_steps": 1}, set(range(1, 16))),
        # An epoch has five steps: twice inside it, not at its end.
        ("after validation", {}, {2, 4, 7, 9, 12, 14}),
        ("after the epoch", {"save_on_train_epoch_end": True}, {5, 10, 15}),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_fine_tuning(
    run: Run,
    tmp_path: Path,
    moment: str,
    options: dict[str, Any],
    expected: set[int],
    accumulate: int,
) -> None:
    settings = {"accumulate_grad_batches": accumulate, "val_check_interval": 2 * accumulate}
    whole = run("finetune", every(tmp_path, **options), **settings)
    checkpoints = saved(tmp_path)
    assert set(checkpoints) == expected, moment
    for step in sorted(expected & {2, 3, 5, 7, 10}):
        resumed = run("finetune", checkpoint=checkpoints[step], **settings)
        assert_same(resumed, whole, done=step * accumulate)


@pytest.mark.parametrize(
    ("options", "chosen"), [({"every_n_train_steps": 1}, (1, 7)), ({"monitor": "val_loss"}, (4, 8))]
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_pre_training(
    run: Run, tmp_path: Path, options: dict[str, Any], chosen: tuple[int, ...], accumulate: int
) -> None:
    settings = {"accumulate_grad_batches": accumulate, "val_check_interval": 4 * accumulate}
    whole = run("pretrain", every(tmp_path, **options), **settings)
    last = whole[0].trainer.global_step
    assert last > 10
    for step in (*chosen, last):
        resumed = run("pretrain", checkpoint=saved(tmp_path)[step], **settings)
        assert_same(resumed, whole, done=step * accumulate)


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_loader_that_works_ahead(run: Run, tmp_path: Path, kind: Kind) -> None:
    # What a worker has built and nobody has used is no progress.
    whole = run(kind, every(tmp_path), val_check_interval=4, num_workers=1)
    resumed = run(kind, checkpoint=saved(tmp_path)[4], val_check_interval=4, num_workers=1)
    assert_same(resumed, whole, done=4)


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_step_that_was_under_way_is_done_again(run: Run, tmp_path: Path, kind: Kind) -> None:
    # Validation after three micro-batches saves half-way through the second step of two.
    settings = {"accumulate_grad_batches": 2, "val_check_interval": 3}
    whole = run(kind, every(tmp_path), **settings)
    resumed = run(kind, checkpoint=saved(tmp_path)[1], **settings)
    # The masked tokens of the third micro-batch are counted twice.
    assert_same(resumed, whole, done=2, but_for=("unigram_counts",))


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_run_that_was_asked_to_stop(run: Run, tmp_path: Path, kind: Kind) -> None:
    whole = run(kind, val_check_interval=2)
    stopped = run(kind, every(tmp_path), StopAfter(7), val_check_interval=2)
    assert stopped[0].trainer.global_step == 7
    resumed = run(kind, checkpoint=saved(tmp_path)[7], val_check_interval=2)
    assert_same(resumed, whole, done=7)


def test_epochs_that_are_cut_short(run: Run, tmp_path: Path) -> None:
    # Three of the five steps of an epoch: step 5 is the second of the second epoch.
    settings = {"limit_train_batches": 3, "val_check_interval": 2}
    whole = run("finetune", every(tmp_path), **settings)
    assert whole[0].trainer.global_step == 9
    for step in (2, 5):
        resumed = run("finetune", checkpoint=saved(tmp_path)[step], **settings)
        assert_same(resumed, whole, done=step)


@pytest.mark.parametrize("step", [3, 5, 7])
def test_a_run_that_was_limited_in_steps(run: Run, tmp_path: Path, step: int) -> None:
    # REFERENCE 6, 10: Lightning counts an epoch that max_steps cut short as done. The rows go on
    # where they stood; the schedule is that of the longer run, so rates and losses differ.
    keep = LastCheckpoint(str(tmp_path), every_n_train_steps=1)
    whole = run("finetune", max_epochs=10, max_steps=12)
    first = run("finetune", keep, max_epochs=10, max_steps=step)
    rest = run("finetune", checkpoint=tmp_path / "last.ckpt", max_epochs=10, max_steps=12)
    parts = [*first[1].batches, *rest[1].batches]
    assert [ids for ids, *_ in parts] == [ids for ids, *_ in whole[1].batches]
    assert rest[0].trainer.global_step == 12


def test_other_corpora_are_refused(
    tiny: EncoderConfig,
    run: Run,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    corpora: list[Path],
    tmp_path: Path,
) -> None:
    run("pretrain", ModelCheckpoint(tmp_path, save_last=True))
    for folders in (corpora[::-1], corpora[:1]):
        with pytest.raises(CheckpointError):
            make_trainer(max_epochs=1).fit(
                MaskedLMTask(tiny, vocab_size=VOCABULARY),
                datamodule=make_pretraining(folders=folders),
                ckpt_path=tmp_path / "last.ckpt",
            )
