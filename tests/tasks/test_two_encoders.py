from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from biote.batch import LabelledBatch
from biote.datamodules.table import TableDataModule
from biote.errors import CheckpointError, ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads import DeltaGHead, SequenceHead
from biote.modules.pair import NucleicEncoder
from biote.modules.pooling import Pooling
from biote.modules.weights import save_encoder
from biote.tasks.regression import RegressionTask
from biote.tokenization import CharacterTokenizer

MakeTrainer = Callable[..., Trainer]
MakeTable = Callable[..., TableDataModule]
TOKENIZER = CharacterTokenizer()
WIDER = EncoderConfig(width=24, layers=1, heads=2, context=64)


def task(tiny: EncoderConfig, **options: Any) -> RegressionTask:
    arguments: dict[str, Any] = {
        "nucleic_encoder": NucleicEncoder(encoder=WIDER),
        "head": DeltaGHead,
        "n_outputs": 1,
        "vocab_size": TOKENIZER.vocab_size,
    }
    return RegressionTask(tiny, **(arguments | options))


def folder(path: Path, config: EncoderConfig, fingerprint: str) -> str:
    save_encoder(
        path,
        encoder=Encoder(config, TOKENIZER.vocab_size, seed=9),
        readout=None,
        tokenizer_fingerprint=fingerprint,
        extra={},
    )
    return str(path)


def test_each_encoder_sees_its_own_half_in_its_own_tokens_always(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    # REFERENCE 6, 16: the same at training and test.
    data = make_table(nucleic_tokenizer="character")
    model = task(tiny)
    seen: dict[str, dict[str, tuple[list[int], list[int]]]] = {}
    before = RegressionTask.encoded

    def encoded(
        self: RegressionTask, batch: LabelledBatch, *, pooling: Pooling
    ) -> tuple[Tensor, Any]:
        assert batch.nucleic is not None
        stage = "train" if self.training else "test"
        halves = [
            [ids.tolist() for ids in torch.split(half.ids, list(half.lengths))]
            for half in (batch, batch.nucleic)
        ]
        for row, protein, nucleic in zip(batch.row_ids, *halves, strict=True):
            seen.setdefault(stage, {})[row] = (protein, nucleic)
        return before(self, batch, pooling=pooling)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RegressionTask, "encoded", encoded)
        make_trainer(max_epochs=1).fit(model, datamodule=data)
        make_trainer().test(model, datamodule=data, verbose=False)
    expected = {}
    for split in ("train", "validation", "test"):
        for row in data.rows(split):
            expected[row.id] = tuple(
                [
                    TOKENIZER.tag_id(molecule),
                    *TOKENIZER.encode_ids(sequence, molecule, record="").tolist(),
                    TOKENIZER.eos_id(molecule.modality),
                ]
                for sequence, molecule in row.parts
            )
    assert set(seen["train"]) | set(seen["test"]) == set(expected)
    for stage in seen.values():
        for name, halves in stage.items():
            assert halves == expected[name]


def test_swapped_tokenizers_are_refused(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    # REFERENCE 6, 16: the public control swaps the two when it evaluates.
    mine = folder(tmp_path / "mine", tiny, TOKENIZER.fingerprint)
    other = folder(tmp_path / "other", tiny, "another")
    common: dict[str, Any] = {
        "head": DeltaGHead, "n_outputs": 1, "vocab_size": TOKENIZER.vocab_size,
    }  # fmt: skip
    data = make_table(nucleic_tokenizer="character")
    for first, second, message in (
        (mine, other, "nucleic acids are tokenised by another tokenizer"),
        (other, mine, "the data is tokenised by another tokenizer"),
    ):
        model = RegressionTask(
            None, first, nucleic_encoder=NucleicEncoder(encoder_checkpoint=second), **common
        )
        with pytest.raises(CheckpointError, match=message):
            make_trainer(max_epochs=1).fit(model, datamodule=data)
    right = RegressionTask(
        None, mine, nucleic_encoder=NucleicEncoder(encoder_checkpoint=mine), **common
    )
    make_trainer(max_steps=1).fit(right, datamodule=data)
    assert right.label == "two pre-trained encoders"
    with pytest.raises(ConfigError, match="one of the two encoders has a folder"):
        RegressionTask(None, mine, nucleic_encoder=NucleicEncoder(encoder=WIDER), **common)


def test_model_and_data_agree_on_two_encoders(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    with pytest.raises(ConfigError, match=r"data.nucleic_tokenizer: .* on one side .* only"):
        make_trainer(max_epochs=1).fit(task(tiny), datamodule=make_table())
    alone = task(tiny, nucleic_encoder=None)
    with pytest.raises(ConfigError, match=r"model.nucleic_encoder: .* on one side .* only"):
        make_trainer(max_epochs=1).fit(alone, datamodule=make_table(nucleic_tokenizer="character"))


def test_no_token_of_one_half_reaches_the_other(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    data, model = make_table(nucleic_tokenizer="character"), task(tiny)
    keep = ModelCheckpoint(tmp_path, save_last=True)
    make_trainer(keep, max_epochs=3).fit(model, datamodule=data)
    model.eval()
    batch = next(iter(data.test_dataloader()))
    states, _ = model.encoded(batch, pooling="first")
    assert states.shape == (len(batch.row_ids), tiny.width + WIDER.width)
    assert batch.nucleic is not None
    changed = batch.nucleic._map_tensors(lambda t: t)
    changed.ids[2] = 4 if int(changed.ids[2]) != 4 else 5
    other, _ = model.encoded(batch, pooling="first")
    assert torch.equal(states[:, : tiny.width], other[:, : tiny.width])
    # One linear head of width D1 + D2 with the factor of that width, in training and test alike.
    assert model.head is not None
    assert model.head.width == tiny.width + WIDER.width
    # What was saved predicts the same: no half is left out of a checkpoint.
    fresh = task(tiny)
    make_trainer().test(fresh, datamodule=data, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    fresh.eval()
    again = next(iter(data.test_dataloader()))
    with torch.no_grad():
        torch.testing.assert_close(fresh(again), model(again))
    smaller = task(tiny, nucleic_encoder=NucleicEncoder(encoder=tiny))
    with pytest.raises(CheckpointError, match="nucleic encoder"):
        make_trainer().test(smaller, datamodule=data, ckpt_path=tmp_path / "last.ckpt")


def test_a_head_that_reads_means_reads_the_mean_of_either_half(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    data = make_table(nucleic_tokenizer="character")
    model = task(tiny, head=partial(SequenceHead, pooling="mean"))
    make_trainer(max_steps=1).fit(model, datamodule=data)
    model.eval()
    batch = next(iter(data.test_dataloader()))
    assert model.head is not None
    assert batch.nucleic is not None
    with torch.no_grad():
        states, _ = model.encoded(batch, pooling=model.head.pooling)
        assert model.encoder is not None
        assert model.nucleic is not None
        halves = [model.encoder(batch), model.nucleic(batch.nucleic)]
        for half, packed, found in zip(
            halves, (batch, batch.nucleic), states.split([tiny.width, WIDER.width], 1), strict=True
        ):
            groups = torch.split(half, list(packed.lengths))
            torch.testing.assert_close(found, torch.stack([group.mean(0) for group in groups]))
