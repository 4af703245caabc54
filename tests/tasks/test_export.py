from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file
from torch import Tensor

from biote.cli import main
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import MLPHead
from biote.modules.mup import FineTuningOptimizer
from biote.modules.weights import load_encoder_config
from biote.tasks.export import EncoderExport
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.regression import RegressionTask
from biote.tokenization import CharacterTokenizer, load_tokenizer

MakeTrainer = Callable[..., Trainer]
MakeTable = Callable[..., TableDataModule]
VOCABULARY = CharacterTokenizer().vocab_size


def regression(tiny: EncoderConfig | None, **options: Any) -> RegressionTask:
    return RegressionTask(
        tiny,
        head=MLPHead,
        optimizer=FineTuningOptimizer(lr_head=0.005, lr_embedding=0.005, lr_body=1e-4),
        n_outputs=1,
        vocab_size=VOCABULARY,
        **options,
    )


def encoder_weights(checkpoint: Path) -> dict[str, Tensor]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith("encoder.")}


def step_of(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_best_weights_are_exported_and_not_the_last(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    # REFERENCE 6, 5: best weights kept by reference are the last ones.
    keep = ModelCheckpoint(tmp_path, filename="best", monitor="val_mae", mode="min")
    model = regression(tiny)
    # Numbers that follow from nothing: what is learnt of them makes validation worse.
    trainer = make_trainer(keep, EncoderExport(), max_epochs=16)
    trainer.fit(model, datamodule=make_table())
    best, last = tmp_path / "best.ckpt", tmp_path / "at_the_end.ckpt"
    trainer.save_checkpoint(last)
    assert step_of(best) < step_of(last) == 48, "the last weights are the best"
    assert not same(encoder_weights(best), encoder_weights(last))

    exported = load_file(tmp_path / "encoder" / "model.safetensors")
    assert same(exported, encoder_weights(best))
    stored = load_encoder_config(tmp_path / "encoder")
    assert stored.extra == {"trained_steps": step_of(best), "selection": "best"}
    assert stored.encoder == tiny
    assert not stored.has_readout
    # The run itself still holds the weights it ended with.
    held = {k: v for k, v in model.state_dict().items() if k.startswith("encoder.")}
    assert same(held, encoder_weights(last))


def test_fit_keeps_the_best_and_the_last_checkpoint(make_table: MakeTable, tmp_path: Path) -> None:
    config = {
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 16,
            "default_root_dir": str(tmp_path),
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "checkpoint": {"monitor": "val_mae", "mode": "min"},
        "model": {
            "class_path": "RegressionTask",
            "init_args": {
                "encoder": {"width": 16, "layers": 2, "heads": 2, "context": 64},
                "head": {"class_path": "MLPHead"},
                "optimizer": {"lr_head": 0.005, "lr_embedding": 0.005, "lr_body": 1e-4},
            },
        },
        "data": {
            "class_path": "TableDataModule",
            "init_args": {
                "root": str(make_table()._root),
                "tokenizer": "character",
                "sequences": [
                    {"column": "protein", "molecule": "protein"},
                    {"column": "dna", "molecule": "DNA"},
                ],
                "labels": ["energy"],
                "kind": "regression",
                "batch_size": 8,
                "split_column": "split",
                "context": 64,
            },
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tmp_path / "run.yaml")]) == 0
    best, last = (tmp_path / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    exported = load_file(tmp_path / "encoder" / "model.safetensors")
    assert same(exported, encoder_weights(best))
    # A run that is resumed from its last checkpoint must lose no epoch, better or worse.
    assert step_of(last) == 48
    assert step_of(best) < 48


def test_without_validation_the_last_weights_are_exported(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    model = regression(tiny)
    make_trainer(EncoderExport(), max_epochs=1).fit(model, datamodule=make_table(validation=0))
    exported = load_file(tmp_path / "encoder" / "model.safetensors")
    held = {k: v for k, v in model.state_dict().items() if k.startswith("encoder.")}
    assert same(exported, held)
    assert load_encoder_config(tmp_path / "encoder").extra["selection"] == "last"


def test_a_checkpoint_that_nothing_was_monitored_for_is_not_called_the_best(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    keep = ModelCheckpoint(tmp_path)
    make_trainer(keep, EncoderExport(), max_epochs=1).fit(regression(tiny), datamodule=make_table())
    assert load_encoder_config(tmp_path / "encoder").extra["selection"] == "last"


def test_the_folder_is_what_fine_tuning_starts_from(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_table: MakeTable,
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    pretrained = MaskedLMTask(tiny, vocab_size=VOCABULARY)
    make_trainer(EncoderExport(), max_epochs=1).fit(pretrained, datamodule=make_pretraining())
    folder = tmp_path / "encoder"
    assert load_tokenizer(folder).fingerprint == CharacterTokenizer().fingerprint
    assert load_encoder_config(folder).has_readout

    model = regression(None, encoder_checkpoint=str(folder))
    data = make_table()
    data_of_folder = TableDataModule(
        data._root, str(folder), sequences=[c for c, _ in data._sequences], labels=["energy"],
        kind="regression", batch_size=8, split_column="split", context=64,
    )  # fmt: skip
    make_trainer(max_epochs=1, limit_train_batches=0).fit(model, datamodule=data_of_folder)
    assert model.encoder is not None
    assert pretrained.encoder is not None
    assert same(dict(model.encoder.state_dict()), dict(pretrained.encoder.state_dict()))


def test_what_was_pretrained_on_is_carried_and_summed(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_table: MakeTable,
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    def record(model: Any, data: Any, name: str) -> dict[str, Any]:
        make_trainer(EncoderExport(name), max_epochs=1).fit(model, datamodule=data)
        return dict(load_encoder_config(tmp_path / name).extra)

    data = make_pretraining()
    first = record(MaskedLMTask(tiny, vocab_size=VOCABULARY), data, "first")
    tokens = first["trained_tokens"]
    assert tokens > 0
    pairs = tokens * data.context
    assert first["trained_attention_flops"] == 12 * tiny.width * tiny.layers * pairs
    start = str(tmp_path / "first")
    tuned = record(regression(None, encoder_checkpoint=start), make_table(), "tuned")
    known = ("trained_tokens", "trained_attention_flops")
    assert [tuned[key] for key in known] == [first[key] for key in known]
    again = MaskedLMTask(None, start, vocab_size=VOCABULARY)
    longer = record(again, make_pretraining(), "longer")
    assert [longer[key] for key in known] == [2 * first[key] for key in known]
    random = regression(None, encoder_checkpoint=start, encoder_weights="random")
    assert "trained_tokens" not in record(random, make_table(), "random")


@pytest.mark.parametrize("options", [{"folder": None}, {"fast_dev_run": True}])
def test_nothing_is_exported_where_it_is_not_wanted(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_table: MakeTable,
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    export = EncoderExport(options.get("folder", "encoder"))
    run = {name: value for name, value in options.items() if name != "folder"}
    make_trainer(export, max_epochs=1, **run).fit(regression(tiny), datamodule=make_table())
    assert not (tmp_path / "encoder").exists()
