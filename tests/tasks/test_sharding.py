from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from biote.cli import main
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.tasks.sharding import exchange, is_sharded, recover

STRATEGY = {
    "class_path": "biote.tasks.sharding.ShardedStrategy",
    "init_args": {"precision": "float32"},
}


def options(corpora: list[Path], run: Path, *more: str) -> list[str]:
    sources = [{"folder": str(folder), "weight": 0.5} for folder in corpora]
    return [
        "fit", "--config", "demo/pretrain.yaml",
        "--model.encoder", '{"width": 16, "layers": 2, "heads": 2, "context": 48}',
        "--model.optimizer.eps", "1e-3",
        "--data.corpora", json.dumps(sources),
        "--data.context", "48",
        "--data.tokens", "6000",
        "--data.tokens_per_step", "280",
        "--data.validation_tokens", "400",
        "--trainer.val_check_interval", "5",
        "--last_checkpoint.every_n_train_steps", "1",
        "--trainer.default_root_dir", str(run),
        "--trainer.enable_progress_bar", "false",
        *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def fit(run_two: Callable[..., Any]) -> Callable[..., None]:
    """Trains on one process, or on two that hold a part of the weights each.

    After some step, if it is given, the second of the two is told to stop.
    """

    def run(arguments: list[str], *, world: int, stop_after: int | None = None) -> None:
        if world == 1:
            assert main(arguments) == 0
            return
        two = ["--trainer.devices", "2", "--trainer.strategy", json.dumps(STRATEGY)]
        run_two(
            ["-m", "biote", *arguments, *two],
            stop_at=None if stop_after is None else f"step {stop_after},",
        )

    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(
    corpora: list[Path], tmp_path_factory: pytest.TempPathFactory, fit: Callable[..., None]
) -> Path:
    """An uninterrupted run on one process."""
    run = tmp_path_factory.mktemp("whole")
    fit(options(corpora, run), world=1)
    return run


def test_a_run_goes_on_in_another_number_of_processes(
    corpora: list[Path], whole: Path, tmp_path: Path, fit: Callable[..., None]
) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    for world, steps in ((2, "7"), (1, "13"), (2, "-1")):
        more = ["--trainer.max_steps", steps, "--ckpt_path", "auto"]
        fit(options(corpora, tmp_path, *more), world=world)
        assert is_sharded(last) if world == 2 else last.is_file()
        assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
    expected = weights(whole)
    for name, value in weights(tmp_path).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)
    stored = torch.load(last / "meta.pt", weights_only=True)
    assert stored["global_step"] >= 20
    # One process evaluates what two have written.
    arguments = options(corpora, tmp_path)[1:]
    evaluated = tmp_path / "evaluated"
    arguments[arguments.index(str(tmp_path))] = str(evaluated)
    assert main(["validate", *arguments, "--ckpt_path", str(last)]) == 0


def test_two_processes_stop_together_and_go_on_to_the_same_weights(
    corpora: list[Path], tmp_path: Path, fit: Callable[..., None]
) -> None:
    more = ["--throughput.every_n_steps", "1", "--ckpt_path", "auto"]
    whole, stopped = (options(corpora, tmp_path / name, *more) for name in ("whole", "stopped"))
    fit(whole, world=2)
    fit(stopped, world=2, stop_after=6)
    rest = torch.load(tmp_path / "stopped/checkpoints/last.ckpt/meta.pt", weights_only=True)
    assert 6 <= rest["global_step"] < 20
    fit(stopped, world=2)
    expected = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "stopped").items():
        assert torch.equal(value, expected[name]), name


def test_half_precision_computes_with_master_weights_in_float32(
    corpora: list[Path], whole: Path, tmp_path: Path, fit: Callable[..., None]
) -> None:
    strategy = STRATEGY | {"init_args": {"precision": "bf16"}}
    more = ["--trainer.strategy", json.dumps(strategy)]
    with pytest.MonkeyPatch.context() as patch:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            patch.setenv("MASTER_PORT", str(free.getsockname()[1]))
        patch.setenv("MASTER_ADDR", "127.0.0.1")
        fit(options(corpora, tmp_path, *more), world=1)
    torch.distributed.destroy_process_group()
    found, expected = weights(tmp_path), weights(whole)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert any(not torch.equal(found[name], expected[name]) for name in found)
    change = sum(float((found[name] - expected[name]).abs().mean()) for name in found) / len(found)
    fresh = Encoder(EncoderConfig(width=16, layers=2, heads=2, context=48), 49)
    learnt = [
        float((expected[f"encoder.{name}"] - value).abs().mean())
        for name, value in fresh.state_dict().items()
    ]
    assert change < 0.2 * sum(learnt) / len(learnt)


@pytest.mark.parametrize("stopped", ["before", "between"])
def test_a_checkpoint_is_there_wherever_the_exchange_is_stopped(
    tmp_path: Path, stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "last.ckpt", tmp_path / "last.ckpt.new"
    for folder, text in ((path, "old"), (new, "new")):
        folder.mkdir()
        (folder / "content").write_text(text)
    rename = Path.rename
    renamed: list[Path] = []

    def killed(self: Path, target: Path) -> Path:
        if len(renamed) == (0 if stopped == "before" else 1):
            raise KeyboardInterrupt
        renamed.append(self)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            exchange(new, path)
    recover(path)
    assert (path / "content").read_text() == "old"
    exchange(new, path)
    assert (path / "content").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_second_precision_is_refused(
    corpora: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--trainer.strategy", json.dumps(STRATEGY), "--trainer.precision", "bf16-mixed"]
    assert main(options(corpora, tmp_path, *more)) == 2
    assert "trainer.precision: bf16-mixed beside ShardedStrategy" in capsys.readouterr().err
