from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from lightning import Callback, Trainer

from biote.batch import MaskedBatch
from biote.datamodules.pretraining import PretrainingDataModule
from biote.modules.config import EncoderConfig
from biote.tasks import throughput
from biote.tasks.masked_lm import MaskedLMTask
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
