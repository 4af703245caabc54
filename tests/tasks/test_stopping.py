from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from biote.cli import main

ASYNC = "lightning.pytorch.plugins.io.AsyncCheckpointIO"
INTERVAL = 7
"""Optimiser steps between two checkpoints of the run that is killed."""


def options(corpora: list[Path], run: Path) -> list[str]:
    sources = [{"folder": str(folder), "weight": 0.5} for folder in corpora]
    return [
        "fit", "--config", "demo/pretrain.yaml",
        "--model.encoder", '{"width": 16, "layers": 2, "heads": 2, "context": 48}',
        "--model.dropout.residual", "0.1",
        "--data.corpora", json.dumps(sources),
        "--data.context", "48",
        "--data.tokens", "60000",
        "--data.tokens_per_step", "280",
        "--data.validation_tokens", "400",
        "--trainer.val_check_interval", "60",
        "--trainer.accumulate_grad_batches", "3",
        "--trainer.default_root_dir", str(run),
        "--trainer.enable_progress_bar", "false",
        "--trainer.log_every_n_steps", "1",
        "--throughput.every_n_steps", "1",
        "--ckpt_path", "auto",
    ]  # fmt: skip


def step_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


@pytest.fixture(scope="module")
def whole(corpora: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    run = tmp_path_factory.mktemp("whole")
    continue_run(options(corpora, run))
    return run


def continue_run(arguments: list[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(arguments) == 0
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("number", "saving"),
    [
        (signal.SIGTERM, []),
        (signal.SIGUSR1, ["--trainer.plugins", ASYNC]),
        (signal.SIGKILL, ["--last_checkpoint.every_n_train_steps", str(INTERVAL)]),
    ],
)
def test_a_run_that_is_stopped_goes_on_to_the_same_weights(
    corpora: list[Path], whole: Path, tmp_path: Path, number: signal.Signals, saving: list[str]
) -> None:
    stopped, killed = tmp_path / "stopped", number == signal.SIGKILL
    with subprocess.Popen(
        [sys.executable, "-m", "biote", *options(corpora, stopped), *saving],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        seen: list[str] = []
        for line in process.stderr:
            seen.append(line)
            if line.startswith("step 20,"):
                process.send_signal(number)
                break
        rest, began = process.stderr.read(), time.monotonic()
        status = process.wait(timeout=60)
        assert status == (-number if killed else 0), "".join(seen) + rest
        assert time.monotonic() - began < 30
    last = stopped / "checkpoints" / "last.ckpt"
    if killed:
        shown = [line for line in [*seen, *rest.splitlines()] if line.startswith("step ")]
        reached = int(shown[-1].split(",")[0].removeprefix("step "))
        assert reached - INTERVAL < step_of(last) <= reached + 1 < 60
    else:
        assert "stopped by a signal after step 2" in rest
        assert 20 <= step_of(last) < 60
    continue_run([*options(corpora, stopped), *saving])
    assert step_of(last) == step_of(whole / "checkpoints" / "last.ckpt") > 200
    found, expected = (load_file(run / "encoder" / "model.safetensors") for run in (stopped, whole))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name
