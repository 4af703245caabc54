"""Micro-batches of a fixed number of tokens."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from biote.batch import MaskedBatch, PackedBatch, group_layout
from biote.datamodules.cursor import Cursor
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.mup import PretrainingOptimizer
from biote.tasks import MaskedLMTask
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Path]
MakeModule = Callable[..., PretrainingDataModule]
CONTEXT = 32
TOKENIZER = CharacterTokenizer()
PROTEIN = "ARNDCQEGHILKMFPSTWYV"


@pytest.fixture
def folders(make_corpus: MakeCorpus) -> list[Path]:
    """Long and short nucleic acids, and proteins."""
    return [
        make_corpus("n", [100, 7, 61, 33, 12] * 12),
        make_corpus("p", [9, 25, 14, 40, 18, 5] * 10, letters=PROTEIN, seed=1),
    ]


def groups(batch: MaskedBatch, *, masked: bool = False) -> list[tuple[int, ...]]:
    """Token ids of every group, before masking unless asked otherwise, padding left out."""
    ids = batch.ids.clone()
    if not masked:
        ids[batch.masked] = batch.targets
    ends = batch.cu_seqlens.tolist()
    found = [tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(ends)]
    return [group for group in found if set(group) != {TOKENIZER.pad_id}]


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_every_micro_batch_of_every_rank_has_the_same_number_of_tokens(
    folders: list[Path], make_module: MakeModule, world: int, accumulate: int
) -> None:
    tokens = 384 // (world * accumulate)
    ranks = [
        make_module(folders, rank=rank, world=world, accumulate=accumulate, pad_to_budget=True)
        for rank in range(world)
    ]
    training = [list(data.train_dataloader()) for data in ranks]
    validation = [list(data.val_dataloader()) for data in ranks]
    for kind in (training, validation):
        assert len({len(batches) for batches in kind}) == 1
        for batch in itertools.chain(*kind):
            assert batch.n_tokens == sum(batch.lengths) == len(batch.molecules) == tokens
            assert max(batch.lengths) <= CONTEXT
            assert int(batch.cu_seqlens[-1]) == tokens
            begin = tokens - batch.padding_tokens
            padding = batch.ids == TOKENIZER.pad_id
            # Padding is the tail, in groups of its own, and nothing of it is masked.
            assert torch.equal(padding, torch.arange(tokens) >= begin)
            assert begin in batch.cu_seqlens.tolist()
            assert (batch.masked < begin).all()
    for step, parts in enumerate(zip(*training, strict=True)):
        for batch in parts:
            assert batch.step == step // accumulate
    whole = [batch for batches in zip(*training, strict=True) for batch in batches]
    for begin in range(0, len(whole), world * accumulate):
        step_batches = whole[begin : begin + world * accumulate]
        real = sum(batch.n_tokens - batch.padding_tokens for batch in step_batches)
        assert {batch.step_tokens for batch in step_batches} == {real}
        assert {batch.step_masked for batch in step_batches} == {
            sum(len(batch.masked) for batch in step_batches)
        }
        # In training only what is shorter than a window is padding, so it is one group.
        assert all(
            len(batch.lengths) - len(groups(batch)) == (batch.padding_tokens > 0)
            for batch in step_batches
        )


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_is_the_same_with_padding(
    folders: list[Path], make_module: MakeModule, world: int
) -> None:
    def validated(**options: bool) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
        return Counter(
            pair
            for rank in range(world)
            for batch in make_module(folders, rank=rank, world=world, **options).val_dataloader()
            for pair in zip(groups(batch), groups(batch, masked=True), strict=True)
        )

    assert validated() == validated(pad_to_budget=True)
    assert validated().total() > 10


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("pad_to_budget", [False, True])
def test_workers_give_the_same_batches_in_the_same_order(
    folders: list[Path], make_module: MakeModule, pad_to_budget: bool
) -> None:
    alone, *others = (
        list(
            make_module(
                folders,
                rank=1,
                world=2,
                accumulate=2,
                num_workers=workers,
                pad_to_budget=pad_to_budget,
            ).train_dataloader()
        )
        for workers in (0, 1, 3)
    )
    assert len(alone) > 20
    for batches in others:
        assert len(batches) == len(alone)
        for one, other in zip(alone, batches, strict=True):
            assert torch.equal(one.ids, other.ids)
            assert torch.equal(one.masked, other.masked)
            assert (one.cursor, one.lengths) == (other.cursor, other.lengths)


def test_a_checkpoint_holds_the_windows_that_were_passed_over(
    folders: list[Path], make_module: MakeModule
) -> None:
    whole = list(make_module(folders, pad_to_budget=True).train_dataloader())
    data = make_module(folders, pad_to_budget=True)
    for batch in whole[:5]:
        data.trainer.training = True  # type: ignore[union-attr]
        data.trainer.global_step = batch.step + 1  # type: ignore[union-attr, misc]
        data.on_before_batch_transfer(batch, 0)
    state = data.state_dict()
    assert Cursor.from_flat(state["cursor"], corpora=2).pending
    resumed = make_module(folders, pad_to_budget=True)
    resumed.load_state_dict(state)
    rest = list(resumed.train_dataloader())
    assert [batch.ids.tolist() for batch in rest] == [batch.ids.tolist() for batch in whole[5:]]
    # Padding may be given up: what was passed over comes first.
    other = make_module(folders)
    other.load_state_dict(state)
    first = next(iter(other.train_dataloader()))
    cursor = Cursor.from_flat(first.cursor, corpora=2)
    assert cursor.pending == ()
    used = Counter(g for batch in [*whole[:5], first] for g in groups(batch))
    in_order = make_module(folders, tokens=10**9).train_dataloader()
    drawn: Counter[tuple[int, ...]] = Counter()
    for batch in in_order:
        drawn.update(groups(batch))
        if drawn.total() >= cursor.windows:
            break
    assert used <= drawn
    assert used.total() == cursor.windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"world": 5},
            r"^data\.tokens_per_step: 384 tokens cannot be cut into equal parts for 5 ranks x 1 "
            r"accumulated micro-batches, which pad_to_budget needs; give a multiple of 5, 380 say$",
        ),
        (
            {"world": 4, "accumulate": 4},
            r"^data\.tokens_per_step: 384 tokens for 4 ranks x 4 accumulated micro-batches are 24 "
            r"each, which cannot hold a window of 32; give at least 512 or lower data\.context$",
        ),
    ],
)
def test_a_budget_that_cannot_be_shared_out_is_refused(
    folders: list[Path], make_module: MakeModule, options: dict[str, int], message: str
) -> None:
    make_module(folders, **options).setup("fit")
    data = make_module(folders, pad_to_budget=True, **options)
    for begin in (lambda: data.setup("fit"), data.train_dataloader, data.val_dataloader):
        with pytest.raises(ConfigError, match=message):
            begin()


def test_parts_that_whole_windows_cannot_fill_are_reported(
    folders: list[Path], make_module: MakeModule, caplog: pytest.LogCaptureFixture
) -> None:
    make_module(folders, pad_to_budget=True).setup("fit")
    make_module(folders, tokens_per_step=400).setup("fit")
    assert not caplog.records
    with caplog.at_level(logging.WARNING, logger="biote"):
        make_module(folders, tokens_per_step=400, pad_to_budget=True).setup("fit")
    assert "no multiple of data.context (32)" in caplog.text
    assert "up to 4 %" in caplog.text


class Stripped(PretrainingDataModule):
    """Takes the padding off again."""

    padding = 0

    def on_before_batch_transfer(self, batch: PackedBatch, dataloader_idx: int) -> PackedBatch:
        assert isinstance(batch, MaskedBatch)
        self.padding += batch.padding_tokens
        keep = batch.n_tokens - batch.padding_tokens
        lengths = [
            n for n, end in zip(batch.lengths, batch.cu_seqlens[1:], strict=True) if end <= keep
        ]
        cu_seqlens, positions = group_layout(lengths)
        return super().on_before_batch_transfer(
            MaskedBatch(
                **vars(batch)
                | {
                    "ids": batch.ids[:keep],
                    "molecules": batch.molecules[:keep],
                    "cu_seqlens": cu_seqlens,
                    "positions": positions,
                    "lengths": tuple(lengths),
                    "padding_tokens": 0,
                }
            ),
            dataloader_idx,
        )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_padding_changes_neither_losses_nor_weights(
    folders: list[Path], tmp_path: Path, accumulate: int
) -> None:
    outcomes = []
    for kind in (PretrainingDataModule, Stripped):
        data = kind(
            [CorpusSource(folder=folder) for folder in folders],
            CONTEXT,
            tokens=3_000,
            tokens_per_step=160,
            pad_to_budget=True,
            validation_tokens=200,
        )
        model = MaskedLMTask(
            EncoderConfig(width=16, layers=2, heads=2, context=CONTEXT),
            optimizer=PretrainingOptimizer(lr=0.02, eps=1e-3),
            vocab_size=data.vocab_size,
        )
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            accumulate_grad_batches=accumulate,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=tmp_path,
        )
        trainer.fit(model, datamodule=data)
        outcomes.append((model.state_dict(), trainer.callback_metrics, trainer.global_step))
        if isinstance(data, Stripped):
            assert data.padding > 0
    (weights, metrics, steps), (other_weights, other_metrics, other_steps) = outcomes
    assert steps == other_steps > 10
    for name in ("train_loss", "val_loss"):
        torch.testing.assert_close(metrics[name], other_metrics[name], rtol=1e-5, atol=1e-6)
    for name, value in weights.items():
        torch.testing.assert_close(other_weights[name], value, rtol=0, atol=1e-5)
