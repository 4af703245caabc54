from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from biote.errors import CheckpointError
from biote.modules import weights as module
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.readout import Readout
from biote.modules.weights import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_encoder_config,
    load_encoder_weights,
    save_encoder,
    weights_fingerprint,
)

VOCABULARY = 16


def readout(std: float = 1.0) -> Readout:
    return Readout(16, VOCABULARY, base_width=32, bias=False, std=std)


def save(folder: Path, encoder: Encoder, head: Readout | None = None) -> None:
    save_encoder(
        folder,
        encoder=encoder,
        readout=head,
        tokenizer_fingerprint="abc",
        extra={"tokens_seen": 12},
    )


@pytest.fixture
def folder(tmp_path: Path, tiny: EncoderConfig) -> Path:
    save(tmp_path / "encoder", Encoder(tiny, VOCABULARY, seed=1), readout())
    return tmp_path / "encoder"


def rewrite(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Change tensors of the weights file and keep its metadata."""
    path = folder / WEIGHTS_FILE
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {
        name: tensor for name, tensor in (load_file(path) | change).items() if tensor is not None
    }
    save_file(tensors, path, metadata=metadata)


def test_what_is_saved_is_loaded(tmp_path: Path, tiny: EncoderConfig) -> None:
    saved, saved_readout = Encoder(tiny, VOCABULARY, seed=1), readout()
    save(tmp_path, saved, saved_readout)
    stored = load_encoder_config(tmp_path)
    assert stored.encoder == tiny
    assert (stored.vocab_size, stored.tokenizer_fingerprint) == (VOCABULARY, "abc")
    assert stored.has_readout
    assert stored.extra == {"tokens_seen": 12}
    assert stored.weights_fingerprint == weights_fingerprint(tmp_path)
    encoder, loaded_readout = Encoder(stored.encoder, VOCABULARY), readout()
    load_encoder_weights(tmp_path, encoder, loaded_readout)
    assert weights_fingerprint(encoder) == weights_fingerprint(saved)
    assert torch.equal(loaded_readout.weight, saved_readout.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_plain_safetensors_reads_it(folder: Path, tiny: EncoderConfig) -> None:
    names = {f"encoder.{name}" for name in Encoder(tiny, VOCABULARY).state_dict()}
    assert set(load_file(folder / WEIGHTS_FILE)) == names | {"readout.weight"}


def test_the_readout_may_be_left_there(folder: Path, tiny: EncoderConfig) -> None:
    encoder = Encoder(tiny, VOCABULARY)
    load_encoder_weights(folder, encoder)
    assert weights_fingerprint(encoder) == weights_fingerprint(Encoder(tiny, VOCABULARY, seed=1))


def test_weights_load_in_the_precision_of_the_model(folder: Path, tiny: EncoderConfig) -> None:
    encoder = Encoder(tiny, VOCABULARY).bfloat16()
    load_encoder_weights(folder, encoder)
    expected = Encoder(tiny, VOCABULARY, seed=1).bfloat16()
    assert weights_fingerprint(encoder) == weights_fingerprint(expected)


def test_a_readout_that_is_not_there(tmp_path: Path, tiny: EncoderConfig) -> None:
    save(tmp_path, Encoder(tiny, VOCABULARY))
    with pytest.raises(CheckpointError, match="without language-model readout"):
        load_encoder_weights(tmp_path, Encoder(tiny, VOCABULARY), readout())


def truncate(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-100])


def edit_config(change: dict[str, Any]) -> Any:
    def edit(folder: Path) -> None:
        path = folder / CONFIG_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return edit


def drop_key(folder: Path) -> None:
    content = json.loads((folder / CONFIG_FILE).read_text())
    del content["vocab_size"]
    (folder / CONFIG_FILE).write_text(json.dumps(content))


def other_weights(folder: Path) -> None:
    config = (folder / CONFIG_FILE).read_text()
    save(folder, Encoder(load_encoder_config(folder).encoder, VOCABULARY, seed=2), readout())
    (folder / CONFIG_FILE).write_text(config)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / CONFIG_FILE).unlink(), "no config.json there"),
        (lambda f: (f / WEIGHTS_FILE).unlink(), "no model.safetensors there"),
        (truncate, "not a whole safetensors file"),
        (lambda f: (f / WEIGHTS_FILE).write_bytes(b""), "not a whole safetensors file"),
        (lambda f: (f / CONFIG_FILE).write_text("{"), "not the configuration"),
        (lambda f: (f / CONFIG_FILE).write_text("[1]"), "not the configuration"),
        (drop_key, "vocab_size is missing"),
        (edit_config({"format_version": 99}), "format version 99"),
        (edit_config({"encoder": {"width": 16}}), "missing"),
        (edit_config({"encoder": {"width": 16, "layers": 2, "heads": 3, "context": 9}}), "heads"),
        (other_weights, "does not belong to the config.json"),
        (lambda f: rewrite(f, {"encoder.norm.alpha": None}), "lacks weights: encoder.norm.alpha"),
        (lambda f: rewrite(f, {"encoder.extra": torch.ones(1)}), "unknown weights: encoder.extra"),
        (lambda f: rewrite(f, {"head.weight": torch.ones(1)}), "unknown weights: head.weight"),
        (lambda f: rewrite(f, {"encoder.norm.alpha": torch.ones(3)}), r"has shape \(3,\)"),
    ],
)
def test_damaged_folders_are_refused_in_one_line(
    folder: Path, tiny: EncoderConfig, damage: Any, message: str
) -> None:
    damage(folder)
    encoder = Encoder(tiny, VOCABULARY, seed=5)
    before = weights_fingerprint(encoder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder_weights(folder, encoder)
    assert str(folder) in str(caught.value)
    assert caught.value.mend
    assert "\n" not in str(caught.value)
    assert weights_fingerprint(encoder) == before  # nothing was loaded


def test_a_failed_save_leaves_the_old_encoder(
    folder: Path, tiny: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Any, path: Path, **__: Any) -> None:
        path.write_bytes(b"half a")
        raise OSError("disk full")

    before = weights_fingerprint(folder)
    monkeypatch.setattr(module, "save_file", failing)
    with pytest.raises(OSError, match="disk full"):
        save(folder, Encoder(tiny, VOCABULARY, seed=9), readout())
    load_encoder_weights(folder, Encoder(tiny, VOCABULARY), readout())
    assert weights_fingerprint(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_the_fingerprint_sees_values_names_and_types(tiny: EncoderConfig) -> None:
    encoder = Encoder(tiny, VOCABULARY)
    first = weights_fingerprint(encoder)
    assert weights_fingerprint(Encoder(tiny, VOCABULARY)) == first
    with torch.no_grad():
        encoder.norm.gamma[3] = 1e-7
    assert weights_fingerprint(encoder) != first
    assert weights_fingerprint(Encoder(tiny, VOCABULARY).bfloat16()) != first
    assert weights_fingerprint(torch.nn.ModuleDict({"x": Encoder(tiny, VOCABULARY)})) != first
    zeros = torch.nn.Module()
    zeros.register_buffer("x", torch.zeros(2))
    integers = torch.nn.Module()
    integers.register_buffer("x", torch.zeros(2, dtype=torch.int32))
    assert weights_fingerprint(zeros) != weights_fingerprint(integers)
