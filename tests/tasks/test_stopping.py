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


@pytest.mark.parametrize(
    ("number", "plugins"),
    [
        (signal.SIGTERM, "null"),
        (signal.SIGUSR1, "lightning.pytorch.plugins.io.AsyncCheckpointIO"),
    ],
)
def test_a_run_that_is_told_to_stop_goes_on_to_the_same_weights(
    corpora: list[Path], tmp_path: Path, number: signal.Signals, plugins: str
) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    saving = ["--trainer.plugins", plugins]
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
        assert process.wait(timeout=60) == 0, "".join(seen) + rest
        assert time.monotonic() - began < 30
    assert "stopped by a signal after step 2" in rest
    last = stopped / "checkpoints" / "last.ckpt"
    assert 20 <= step_of(last) < 60
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main([*options(corpora, stopped), *saving]) == 0
        assert main(options(corpora, whole)) == 0
    finally:
        torch.set_num_threads(threads)
    assert step_of(last) == step_of(whole / "checkpoints" / "last.ckpt") > 200
    found, expected = (load_file(run / "encoder" / "model.safetensors") for run in (stopped, whole))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name
