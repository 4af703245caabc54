from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, Trainer

from biote.batch import MaskedBatch, PackedBatch
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import SequenceHead
from biote.tasks import throughput
from biote.tasks.checkpointing import LastCheckpoint
from biote.tasks.flops import batch_flops
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.regression import RegressionTask
from biote.tasks.throughput import Throughput
from biote.tokenization import CharacterTokenizer


class Clock:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self._seconds = itertools.count(100)

    def perf_counter(self) -> float:
        return float(next(self._seconds))


@pytest.mark.parametrize("pad_to_budget", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_tokens_of_the_steps_are_divided_by_their_time(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
    pad_to_budget: bool,
) -> None:
    monkeypatch.setattr(throughput, "time", Clock())
    found: list[tuple[int, float, float, float]] = []
    batches: list[MaskedBatch] = []

    class Logged(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            batches.append(arguments[2])
            metrics = trainer.callback_metrics
            if "tokens_per_s" in metrics and trainer.global_step % 3 == 0:
                step = trainer.global_step
                if not found or found[-1][0] != step:
                    names = ("tokens_per_s", "tokens", "padding_fraction")
                    rate, tokens, padding = (float(metrics[name]) for name in names)
                    found.append((step, rate, tokens, padding))

    task = MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size)
    make_trainer(
        Throughput(every_n_steps=3),
        Logged(),
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        limit_val_batches=0,
    ).fit(task, datamodule=make_pretraining(pad_to_budget=pad_to_budget))
    assert [step for step, *_ in found][:3] == [3, 6, 9]
    sizes = [batch.n_tokens - batch.padding_tokens for batch in batches]
    assert pad_to_budget or not any(batch.padding_tokens for batch in batches)
    for step, rate, tokens, padding in found:
        # The clock is asked when the first of three steps begins and when the last is done.
        part = slice((step - 3) * accumulate, step * accumulate)
        assert rate == sum(sizes[part])
        padded = sum(batch.padding_tokens for batch in batches[part])
        assert padding == pytest.approx(padded / (padded + rate))
        assert tokens == sum(sizes[: step * accumulate])


class Slow:
    """A clock that stands still but for what the test lets pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class Passing(Callback):
    """Lets a second pass in every micro-batch, a hundred in validation and in saving."""

    def __init__(self, clock: Slow, names: tuple[str, ...]) -> None:
        self._clock, self._names = clock, names
        self.batches: list[PackedBatch] = []
        self.found: dict[int, dict[str, float]] = {}

    def on_train_batch_start(self, trainer: Trainer, *arguments: Any) -> None:
        self._clock.seconds += 1

    def on_validation_start(self, *arguments: Any) -> None:
        self._clock.seconds += 100

    def on_save_checkpoint(self, *arguments: Any) -> None:
        self._clock.seconds += 100

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self.batches.append(arguments[2])
        there = {n: float(v) for n, v in trainer.callback_metrics.items() if n in self._names}
        if there and there not in self.found.values():
            self.found[trainer.global_step] = there


@pytest.fixture
def h200(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "device_name", lambda device: "NVIDIA H200")


@pytest.mark.usefixtures("h200")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_operations_are_divided_by_time_and_peak(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    accumulate: int,
) -> None:
    clock = Slow()
    monkeypatch.setattr(throughput, "time", clock)
    passing = Passing(clock, ("tokens_per_s", "model_tflops_per_s", "mfu"))
    vocab_size = CharacterTokenizer().vocab_size
    # Validation and saving lie inside the steps of a figure, and take no part in it.
    make_trainer(
        Throughput(every_n_steps=4),
        passing,
        LastCheckpoint(str(tmp_path), every_n_train_steps=2),
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        val_check_interval=3 * accumulate,
    ).fit(MaskedLMTask(tiny, vocab_size=vocab_size), datamodule=make_pretraining())
    assert list(passing.found)[:2] == [4, 8]
    for step, figures in list(passing.found.items())[:2]:
        part = passing.batches[(step - 4) * accumulate : step * accumulate]
        # Throughput starts its clock before the second of its first batch passes.
        flops = sum(batch_flops(tiny, batch, vocab_size=vocab_size) for batch in part)
        seconds = len(part)
        assert figures["model_tflops_per_s"] == pytest.approx(flops / seconds / 1e12, rel=1e-5)
        assert figures["mfu"] == pytest.approx(flops / seconds / 66.9e12, rel=1e-5)
        assert figures["tokens_per_s"] == pytest.approx(sum(b.n_tokens for b in part) / seconds)


def test_a_figure_is_due_when_lightning_logs_also_after_resuming(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    vocab_size = CharacterTokenizer().vocab_size
    last = LastCheckpoint(str(tmp_path), every_n_train_steps=5)
    first = make_trainer(last, max_steps=5, limit_val_batches=0)
    first.fit(MaskedLMTask(tiny, vocab_size=vocab_size), datamodule=make_pretraining())
    clock = Slow()
    monkeypatch.setattr(throughput, "time", clock)
    passing = Passing(clock, ("tokens_per_s",))
    make_trainer(
        Throughput(every_n_steps=3), passing, max_epochs=1, limit_val_batches=0
    ).fit(
        MaskedLMTask(tiny, vocab_size=vocab_size),
        datamodule=make_pretraining(),
        ckpt_path=str(tmp_path / "last.ckpt"),
    )  # fmt: skip
    assert list(passing.found)[:2] == [6, 9]
    assert passing.found[6]["tokens_per_s"] == passing.batches[0].n_tokens


def test_an_unknown_peak_is_said_once(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = make_trainer(Throughput(every_n_steps=2), max_epochs=1, limit_val_batches=0)
    with caplog.at_level(logging.INFO, "biote"):
        trainer.fit(
            MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size),
            datamodule=make_pretraining(),
        )
    assert "mfu" not in trainer.callback_metrics
    assert trainer.callback_metrics["model_tflops_per_s"] > 0
    said = [text for text in caplog.messages if "peak of cpu" in text]
    assert said == ["The peak of cpu in fp32 is not known: no mfu is logged."]
    assert sum("tokens/s" in text for text in caplog.messages) >= 5


@pytest.mark.usefixtures("h200")
def test_labelled_rows_have_their_operations_too(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_table: Callable[..., TableDataModule],
) -> None:
    data = make_table()
    trainer = make_trainer(Throughput(every_n_steps=3), max_epochs=1)
    trainer.fit(
        RegressionTask(
            tiny, head=SequenceHead, vocab_size=data.vocab_size, n_outputs=data.n_outputs
        ),
        datamodule=data,
    )
    assert 0 < float(trainer.callback_metrics["mfu"]) < 1
    assert "tokens" not in trainer.callback_metrics
