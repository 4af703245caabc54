from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor

from biote.batch import MaskedBatch
from biote.datamodules.pretraining import PretrainingDataModule
from biote.errors import ConfigError
from biote.modules.attention import group_layout_of
from biote.modules.config import EncoderConfig
from biote.tasks.activations import KINDS, STATISTICS, ActivationStatistics
from biote.tasks.masked_lm import MaskedLMTask
from biote.tokenization import CharacterTokenizer


class Computed(Callback):
    """Computes the blocks of every batch once more, step by step, without hooks."""

    def __init__(self) -> None:
        self.expected: list[dict[str, list[Tensor]]] = []
        self.logged: dict[int, dict[str, float]] = {}
        self._step: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: MaskedBatch, batch_idx: int
    ) -> None:
        used = batch.n_tokens - batch.padding_tokens
        layout = group_layout_of(batch, pl_module.encoder_config)
        states = pl_module.encoder.embedding(batch.ids)
        for number, block in enumerate(pl_module.encoder.blocks):
            attended = block.attention.forward(block.norm_attention(states), layout)[0]
            states = states + attended
            moved = block.mlp.forward(block.norm_mlp(states))
            states = states + moved
            for kind, values in zip(KINDS, (attended, moved, states), strict=True):
                self._step.setdefault(f"{kind}_{number}", []).append(values[:used])

    def on_before_optimizer_step(self, *arguments: Any) -> None:
        self.expected.append(self._step)
        self._step = {}

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        there = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("activation_")
        }
        if there and there not in self.logged.values():
            self.logged[trainer.global_step] = there


@pytest.mark.parametrize(("accumulate", "pad_to_budget"), [(1, True), (2, False), (2, True)])
def test_statistics_are_those_of_all_tokens_of_the_step(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    accumulate: int,
    pad_to_budget: bool,
) -> None:
    computed = Computed()
    make_trainer(
        ActivationStatistics(every_n_steps=4),
        computed,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        val_check_interval=5 * accumulate,
    ).fit(
        MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size),
        datamodule=make_pretraining(pad_to_budget=pad_to_budget, tokens_per_step=122),
    )
    assert list(computed.logged)[:2] == [4, 8]
    for step, found in computed.logged.items():
        expected = {}
        for place, parts in computed.expected[step - 1].items():
            assert len(parts) == accumulate
            values = torch.cat(parts).double()
            for name, value in zip(
                STATISTICS,
                (values.abs().mean(), values.std(correction=0), values.abs().max()),
                strict=True,
            ):
                expected[f"activation_{place}_{name}"] = float(value)
        assert found == pytest.approx(expected, rel=1e-4)
        assert len(found) == tiny.layers * len(KINDS) * len(STATISTICS)


@pytest.mark.parametrize("every", [0, 4])
def test_hooks_are_there_only_on_request_and_only_while_training(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    every: int,
) -> None:
    hooks: list[int] = []

    class Counted(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
            hooks.append(sum(len(m._forward_hooks) for m in pl_module.encoder.modules()))

    task = MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size)
    trainer = make_trainer(ActivationStatistics(every), Counted(), max_epochs=1)
    trainer.fit(task, datamodule=make_pretraining())
    assert hooks == [tiny.layers * len(KINDS) if every else 0]
    assert task.encoder is not None
    assert not any(module._forward_hooks for module in task.encoder.modules())
    assert any(name.startswith("activation_") for name in trainer.callback_metrics) == bool(every)


def test_weights_do_not_depend_on_being_looked_at(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
) -> None:
    states = []
    for every in (0, 1):
        task = MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size)
        trainer = make_trainer(ActivationStatistics(every), max_steps=4, limit_val_batches=0)
        trainer.fit(task, datamodule=make_pretraining())
        states.append(task.state_dict())
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


def test_a_compiled_block_is_looked_at_all_the_same(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
) -> None:
    found = []
    for compiled in (False, True):
        task = MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size)
        task.configure_model()
        assert task.encoder is not None
        if compiled:
            for block in task.encoder.blocks:
                block.compile(backend="eager", dynamic=True)
        trainer = make_trainer(ActivationStatistics(2), max_steps=2, limit_val_batches=0)
        trainer.fit(task, datamodule=make_pretraining())
        metrics = trainer.callback_metrics.items()
        found.append({n: float(v) for n, v in metrics if n.startswith("activation_")})
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[0]


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match="every_n_steps"):
        ActivationStatistics(-1)
