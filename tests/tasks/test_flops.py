from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer
from torch.utils.flop_counter import FlopCounterMode

from biote.datamodules.pretraining import PretrainingDataModule
from biote.modules.config import EncoderConfig
from biote.tasks.flops import (
    Precision,
    batch_flops,
    compute_precision,
    model_flops,
    peak_flops,
    unpadded_lengths,
)
from biote.tasks.masked_lm import MaskedLMTask

CONFIG = EncoderConfig(width=16, layers=2, heads=2, context=64, attention="explicit")


@pytest.mark.parametrize("pad_to_budget", [False, True])
def test_operations_are_those_that_torch_counts(
    make_pretraining: Callable[..., PretrainingDataModule], pad_to_budget: bool
) -> None:
    # Little room, which often cannot be filled to the last token.
    data = make_pretraining(pad_to_budget=pad_to_budget, tokens_per_step=61)
    data.prepare_data()
    batches = iter(data.train_dataloader())
    batch = next(batch for batch in batches if (batch.padding_tokens > 0) == pad_to_budget)
    task = MaskedLMTask(CONFIG, vocab_size=data.vocab_size)
    task.configure_model()
    with FlopCounterMode(display=False) as counter:
        task.masked_logits(batch).sum().backward()
    counted = counter.get_total_flops()
    expected = model_flops(CONFIG, batch.lengths, len(batch.masked), data.vocab_size)
    # Embeddings are looked up, not multiplied.
    assert counted == expected
    assert batch_flops(CONFIG, batch, vocab_size=data.vocab_size) == model_flops(
        CONFIG, unpadded_lengths(batch), len(batch.masked), data.vocab_size
    )
    padding_counts = batch_flops(CONFIG, batch, vocab_size=data.vocab_size) == expected
    assert padding_counts != pad_to_budget
    assert sum(unpadded_lengths(batch)) == batch.n_tokens - batch.padding_tokens


@given(
    lengths=st.lists(st.integers(1, 500), max_size=8),
    more=st.lists(st.integers(1, 500), max_size=8),
    masked=st.integers(0, 100),
)
def test_operations_of_groups_add_up(lengths: list[int], more: list[int], masked: int) -> None:
    whole = model_flops(CONFIG, lengths + more, masked, 30)
    assert whole == model_flops(CONFIG, lengths, masked, 30) + model_flops(CONFIG, more, 0, 30)


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA H200", "fp32", 66.9),
        ("NVIDIA H200 NVL", "bf16", 835.5),
        ("NVIDIA H100 80GB HBM3", "tf32", 494.7),
        ("NVIDIA H100 PCIe", "bf16", 756.0),
        ("NVIDIA H100 NVL", "bf16", 835.5),
        ("NVIDIA A100-SXM4-80GB", "fp16", 312.0),
        ("NVIDIA A100 80GB PCIe", "tf32", 156.0),
        ("NVIDIA A10", "bf16", 125.0),
        ("NVIDIA A40", "bf16", 149.7),
        ("NVIDIA L4", "bf16", 121.0),
        ("NVIDIA L40S", "bf16", 362.05),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("NVIDIA RTX A6000", "bf16", 154.8),
        ("NVIDIA RTX 6000 Ada Generation", "bf16", 364.2),
        ("Tesla V100-SXM2-32GB", "fp16", 125.0),
        ("Tesla V100-PCIE-16GB", "fp16", 112.0),
        ("Tesla V100-SXM2-32GB", "bf16", None),
        ("Tesla V100-SXM2-32GB", "tf32", None),
        ("NVIDIA A100-SXM4-80GB", "fp64", None),
        # Devices of which only a part of the name is known.
        ("NVIDIA A10G", "bf16", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "bf16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
        ("NVIDIA GeForce RTX 3090 Ti", "bf16", None),
        ("NVIDIA H100", "bf16", None),
        ("cpu", "fp32", None),
    ],
)
def test_peaks_go_by_the_name_of_the_device(
    name: str, precision: Precision, tera: float | None
) -> None:
    found = peak_flops(name, precision)
    assert found == (pytest.approx(tera * 1e12) if tera is not None else None)


@pytest.mark.parametrize(
    ("trainer_precision", "matmul", "expected"),
    [
        ("bf16-mixed", "highest", "bf16"),
        ("32-true", "highest", "fp32"),
        ("32-true", "high", "tf32"),
        ("64-true", "highest", "fp64"),
    ],
)
def test_precision_is_what_matrices_are_multiplied_in(
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    trainer_precision: str,
    matmul: str,
    expected: str,
) -> None:
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: matmul)
    assert compute_precision(make_trainer(precision=trainer_precision)) == expected


def test_a_strategy_that_casts_decides_the_precision(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    monkeypatch.setattr(trainer.strategy, "param_dtype", torch.bfloat16, raising=False)
    assert compute_precision(trainer) == "bf16"
