from __future__ import annotations

import json
import runpy
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("watched.py")
STRATEGIES = ("ddp", "sharded")
BROKEN = 4


@pytest.fixture(scope="session")
def both(
    tmp_path_factory: pytest.TempPathFactory,
    corpora: list[Path],
    run_two: Callable[..., Any],
) -> tuple[list[Any], Path]:
    """What the run of one process and each of two that were together found, and their folder."""
    output = tmp_path_factory.mktemp("two")
    alone = tmp_path_factory.mktemp("one")
    one = run_two(
        [SCRIPT, *corpora, output],
        meanwhile=lambda: runpy.run_path(str(SCRIPT))["run_all"](corpora, alone, world=1),
    )
    two = [torch.load(output / f"rank{rank}.pt", weights_only=False) for rank in range(2)]
    return [one, *two], output


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_figures_do_not_depend_on_the_number_of_processes(
    both: tuple[list[Any], Path], strategy: str
) -> None:
    (one, *two), _ = both
    whole = one["auto_whole"]
    assert len(whole["steps"]) > BROKEN
    for found in (rank[f"{strategy}_whole"] for rank in two):
        assert found["global_step"] == whole["global_step"]
        for step, figures in whole["steps"].items():
            assert found["steps"][step] == pytest.approx(figures, rel=1e-3, abs=1e-6)
            if step:
                assert {"grad_norm", "lr_hidden", "activation_mlp_1_std", "tokens"} <= set(figures)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_ranks_stop_together_when_one_goes_wrong(
    both: tuple[list[Any], Path], strategy: str
) -> None:
    (_, *two), output = both
    first, second = (rank[f"{strategy}_broken"] for rank in two)
    assert first["error"] == second["error"]
    assert f"stopped at step {BROKEN + 1}: the loss is nan" in first["error"]
    assert first["global_step"] == second["global_step"] <= BROKEN + 2
    content = json.loads((output / strategy / "broken" / "stopped_batch.json").read_text())
    parts = [(part["rank"], part["micro_batch"]) for part in content["micro_batches"]]
    assert parts == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [part["loss"] == "nan" for part in content["micro_batches"]] == [False] * 2 + [True] * 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_run_is_written_down_once(both: tuple[list[Any], Path], strategy: str) -> None:
    _, output = both
    record = json.loads((output / strategy / "whole" / "run.json").read_text())
    (session,) = record["sessions"]
    assert session["world_size"] == 2
    assert session["machines"] == [{"host": socket.gethostname(), "device": "cpu", "ranks": 2}]
    assert record["model"]["parameters"]["hidden"] == 10 * 16**2 * 2
    assert session["outcome"] == "ended"
    broken = json.loads((output / strategy / "broken" / "run.json").read_text())
    assert "BioteError" in broken["sessions"][0]["outcome"]
