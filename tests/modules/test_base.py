from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import CheckpointError, ConfigError
from biote.modules.base import EncoderModule, EncoderWeights, summed_loss
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads import SequenceHead
from biote.modules.mup import FineTuningOptimizer
from biote.modules.schedule import OneCycle
from biote.modules.weights import save_encoder

VOCABULARY = 16
OPTIMIZER = FineTuningOptimizer(lr_head=0.3, lr_embedding=0.02, lr_body=0.01)


class Task(EncoderModule):
    """The least a task can be."""

    def __init__(
        self,
        encoder: EncoderConfig | None,
        folder: Path | None = None,
        *,
        weights: EncoderWeights = "pretrained",
        vocab_size: int = VOCABULARY,
        init_seed: int = 0,
    ) -> None:
        super().__init__(
            encoder,
            str(folder) if folder is not None else None,
            encoder_weights=weights,
            optimizer=OPTIMIZER,
            schedule=OneCycle(warmup=0.5, start=0.1, end=0.1),
            vocab_size=vocab_size,
            init_seed=init_seed,
        )
        self.built = 0
        self.share = 0.0

    def build(self) -> SequenceHead:
        self.built += 1
        self.head = SequenceHead(self.encoder_config.width, 1)
        return self.head

    def progress(self, batch: PackedBatch) -> float:
        return self.share

    def describe(self) -> dict[str, Any]:
        return {"head": "SequenceHead"}


def attached(task: Task, *, tokenizer: str = "t", context: int = 8, split: str = "s") -> Task:
    """The task with a trainer that has nothing but what is asked of it."""
    data = SimpleNamespace(
        tokenizer=SimpleNamespace(fingerprint=tokenizer), context=context, split_fingerprint=split
    )
    task._trainer = SimpleNamespace(  # type: ignore[assignment]
        datamodule=data, world_size=3, accumulate_grad_batches=2
    )
    return task


@pytest.fixture
def folder(tiny: EncoderConfig, tmp_path: Path) -> Path:
    """An encoder folder."""
    save_encoder(
        tmp_path,
        encoder=Encoder(tiny, VOCABULARY, seed=7),
        readout=None,
        tokenizer_fingerprint="t",
        extra={},
    )
    return tmp_path


def weights(task: EncoderModule) -> dict[str, Tensor]:
    assert task.encoder is not None
    return dict(task.encoder.state_dict())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_model_is_built_once(tiny: EncoderConfig) -> None:
    task = Task(tiny)
    assert task.encoder is None
    task.configure_model()
    encoder = task.encoder
    task.configure_model()
    assert task.encoder is encoder
    assert task.built == 1


def test_the_seed_decides_the_weights(tiny: EncoderConfig) -> None:
    tasks = [Task(tiny, init_seed=seed) for seed in (1, 1, 2)]
    for task in tasks:
        torch.randn(3)
        task.configure_model()
    assert same(weights(tasks[0]), weights(tasks[1]))
    assert not same(weights(tasks[0]), weights(tasks[2]))


def test_an_encoder_folder_gives_sizes_and_weights(tiny: EncoderConfig, folder: Path) -> None:
    task = Task(None, folder)
    task.configure_model()
    assert task.encoder_config == tiny
    assert task.starts_pretrained
    assert same(weights(task), dict(Encoder(tiny, VOCABULARY, seed=7).state_dict()))


def test_the_control_keeps_the_sizes_and_not_the_weights(tiny: EncoderConfig, folder: Path) -> None:
    task = Task(None, folder, weights="random", init_seed=3)
    task.configure_model()
    assert task.encoder_config == tiny
    assert not task.starts_pretrained
    assert same(weights(task), dict(Encoder(tiny, VOCABULARY, seed=3).state_dict()))


def test_exactly_one_encoder_is_given(tiny: EncoderConfig, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder_checkpoint: both given; give"):
        Task(tiny, folder)
    with pytest.raises(ConfigError, match=r"model\.encoder_checkpoint: neither given; give"):
        Task(None)


def test_an_encoder_of_another_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="it has 16 token ids, the data has 17; use the enco"):
        Task(None, folder, vocab_size=17)


def test_an_encoder_of_another_tokenizer_is_refused(tiny: EncoderConfig, folder: Path) -> None:
    attached(Task(None, folder)).setup("fit")
    attached(Task(tiny), tokenizer="other").setup("fit")
    for start in ("pretrained", "random"):
        task = Task(None, folder, weights=start)
        with pytest.raises(
            CheckpointError, match="tokenised by another tokenizer than the encoder"
        ):
            attached(task, tokenizer="other").setup("fit")


def test_groups_longer_than_the_encoder_takes_are_refused(tiny: EncoderConfig) -> None:
    attached(Task(tiny), context=64).setup("fit")
    with pytest.raises(ConfigError, match=r"data\.context: groups of 65 tokens, the encoder takes"):
        attached(Task(tiny), context=65).setup("fit")


def test_the_optimiser_holds_every_parameter_of_the_module_once(tiny: EncoderConfig) -> None:
    # REFERENCE 6, 6: an optimiser that holds another module than the one that runs.
    task = Task(tiny)
    task.configure_model()
    optimizer = task.configure_optimizers()
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.parameters())
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"head": 0.3, "embedding": 0.02, "body": 0.01 * 1024 / 16}


def test_the_learning_rate_is_a_function_of_progress_alone(
    tiny: EncoderConfig, make_batch: Callable[..., PackedBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(tiny)
    task.configure_model()
    optimizer = task.configure_optimizers()
    monkeypatch.setattr(task, "optimizers", lambda: optimizer)
    # In any order: a schedule with a state of its own would be restored wrongly.
    for share, factor in ((0.5, 1.0), (1.0, 0.1), (0.0, 0.1), (0.25, 0.55), (0.5, 1.0)):
        task.share = share
        task.on_train_batch_start(make_batch([3]), 0)
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert rates == pytest.approx(
            {"head": 0.3 * factor, "embedding": 0.02 * factor, "body": 0.64 * factor}
        )


def test_shares_of_a_step_sum_to_its_mean(tiny: EncoderConfig) -> None:
    # REFERENCE 6, 17: three ranks with two micro-batches each, of different sizes.
    scale = attached(Task(tiny)).step_scale()
    parts = [torch.arange(n, dtype=torch.float32) + n for n in (3, 0, 5, 1, 2, 7)]
    shares = [summed_loss(part, whole=18, scale=scale) for part in parts]
    # Lightning and the strategy take means where a sum is wanted.
    assert torch.stack(shares).mean().item() == pytest.approx(torch.cat(parts).mean().item())


def test_an_empty_share_has_a_gradient_of_zero() -> None:
    weight = torch.ones(3, requires_grad=True)
    summed_loss((weight * 2)[:0], whole=0, scale=1.0).backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [0, 0, 0]


def test_a_checkpoint_of_something_else_is_refused(tiny: EncoderConfig) -> None:
    counts = dict.fromkeys(("ready", "started", "processed", "completed"), 4)
    progress = {"current": counts, "total": dict(counts)}
    # As Lightning hands it over: its own state is there already.
    checkpoint: dict[str, Any] = {"loops": {"fit_loop": {"epoch_loop.batch_progress": progress}}}
    attached(Task(tiny)).on_save_checkpoint(checkpoint)
    attached(Task(tiny)).on_load_checkpoint(checkpoint)
    wide = EncoderConfig(width=32, layers=2, heads=4, context=64)
    others: dict[str, Task] = {
        "tokenizer t, this run has u": attached(Task(tiny), tokenizer="u"),
        "another split of the data": attached(Task(tiny), split="z"),
        "encoder {'width': 16, .*, this run has {'width': 32, ": attached(Task(wide)),
    }
    for message, task in others.items():
        with pytest.raises(
            CheckpointError, match=f"--ckpt_path: it was trained (on|with) {message}"
        ):
            task.on_load_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match="not a checkpoint of biote"):
        attached(Task(tiny)).on_load_checkpoint({"state_dict": {}})


def test_tensor_parallelism_is_refused(tiny: EncoderConfig) -> None:
    task = attached(Task(tiny))
    task._device_mesh = {  # type: ignore[assignment]
        "tensor_parallel": SimpleNamespace(size=lambda: 2),
        "data_parallel": SimpleNamespace(size=lambda: 1),
    }
    with pytest.raises(ConfigError, match="tensor parallelism"):
        task.configure_model()
