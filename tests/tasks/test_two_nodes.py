"""Two machines: network namespaces with addresses of their own, one process in each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from biote.tasks.sharding import is_sharded

ADDRESSES = ("10.78.0.1", "10.78.0.2")
PORT = 29_417


@pytest.fixture
def nodes() -> Iterator[list[list[str]]]:
    """Command prefixes that run a command on either machine."""
    places = [
        (f"biote-{os.getpid()}-{n}", f"bt{os.getpid() % 100_000}{n}", address)
        for n, address in enumerate(ADDRESSES)
    ]
    (_, first, _), (_, second, _) = places
    steps = [
        *(["ip", "netns", "add", name] for name, _, _ in places),
        ["ip", "link", "add", first, "type", "veth", "peer", "name", second],
    ]
    for name, link, address in places:
        inside = ["ip", "-n", name]
        steps += [
            ["ip", "link", "set", link, "netns", name],
            [*inside, "addr", "add", f"{address}/24", "dev", link],
            [*inside, "link", "set", link, "up"],
            [*inside, "link", "set", "lo", "up"],
        ]
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {' '.join(step)}: {done.stderr.strip()}")
        yield [
            ["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={link}"]
            for name, link, _ in places
        ]
    finally:
        for name, _, _ in places:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def start(
    nodes: list[list[str]], corpora: list[Path], run: Path, *, port: int
) -> list[subprocess.Popen[str]]:
    """Start a run on both machines by torchrun, which finds the other by address."""
    sources = [{"folder": str(folder), "weight": 0.5} for folder in corpora]
    strategy = {
        "class_path": "biote.tasks.sharding.ShardedStrategy",
        "init_args": {"precision": "float32"},
    }
    arguments = [
        "fit", "--config", "demo/pretrain.yaml",
        "--model.encoder", '{"width": 16, "layers": 2, "heads": 2, "context": 48}',
        "--data.corpora", json.dumps(sources),
        "--data.context", "48",
        "--data.tokens", "12000",
        "--data.tokens_per_step", "280",
        "--data.validation_tokens", "400",
        "--trainer.val_check_interval", "20",
        "--trainer.num_nodes", "2",
        "--trainer.strategy", json.dumps(strategy),
        "--last_checkpoint.every_n_train_steps", "5",
        "--throughput.every_n_steps", "1",
        "--trainer.default_root_dir", str(run),
        "--trainer.enable_progress_bar", "false",
        "--ckpt_path", "auto",
    ]  # fmt: skip
    return [
        subprocess.Popen(
            [
                *node, sys.executable, "-m", "torch.distributed.run",
                "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank),
                "--master-addr", ADDRESSES[0], "--master-port", str(port),
                "-m", "biote", *arguments,
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for rank, node in enumerate(nodes)
    ]  # fmt: skip


def finish(processes: list[subprocess.Popen[str]]) -> None:
    texts = [process.communicate(timeout=300)[0] for process in processes]
    for process, text in zip(processes, texts, strict=True):
        assert process.returncode == 0, text


@pytest.mark.full
@pytest.mark.skipif(shutil.which("ip") is None, reason="needs the command ip")
def test_a_run_on_two_machines_survives_the_death_of_one(
    nodes: list[list[str]], corpora: list[Path], tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(nodes, corpora, whole, port=PORT))
    first, second = start(nodes, corpora, broken, port=PORT + 1)
    try:
        assert first.stdout is not None
        while not first.stdout.readline().startswith("step 13,"):
            assert first.poll() is None
        os.killpg(second.pid, signal.SIGKILL)
        time.sleep(1)
    finally:
        for process in (first, second):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
    assert is_sharded(broken / "checkpoints" / "last.ckpt")
    finish(start(nodes, corpora, broken, port=PORT + 2))
    found, expected = (load_file(run / "encoder" / "model.safetensors") for run in (broken, whole))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.equal(expected[name]), name
