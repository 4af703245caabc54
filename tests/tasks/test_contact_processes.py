from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

SCRIPT = Path(__file__).with_name("contact_processes.py")
PROTEINS = 13
"""Three folds of 5, 4 and 4: steps of 3 and 2 or 1, which leave a process without a protein."""


@pytest.fixture(scope="module", params=["ddp", pytest.param("sharded", marks=pytest.mark.full)])
def outputs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_maps: Callable[..., Path],
    run_two: Callable[..., Any],
) -> tuple[Path, Path]:
    """What the runs of one process and of two together wrote."""
    table = make_maps(PROTEINS)
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    runpy.run_path(str(SCRIPT))["run"](table, one, world=1)
    (two / "folds.parquet").write_bytes((one / "folds.parquet").read_bytes())
    run_two([SCRIPT, request.param, table, two])
    return one, two


def load(folder: Path, rank: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / f"rank{rank}.pt", weights_only=False)
    return content


def test_weights_and_running_statistics_do_not_depend_on_the_number_of_processes(
    outputs: tuple[Path, Path],
) -> None:
    one, first, second = load(outputs[0]), load(outputs[1]), load(outputs[1], 1)
    assert one["steps"] == first["steps"] == second["steps"] == 4
    names = [name for name in one["weights"] if name.startswith(("encoder.", "head."))]
    assert any("running_mean" in name for name in names)
    for name in names:
        for other in (first, second):
            torch.testing.assert_close(
                other["weights"][name], one["weights"][name], rtol=0, atol=2e-5
            )


def test_scores_do_not_depend_on_the_number_of_processes(outputs: tuple[Path, Path]) -> None:
    one, two = load(outputs[0])["validated"], load(outputs[1])["validated"]
    for name, value in one.items():
        if name.startswith("val_"):
            assert two[name] == pytest.approx(value, abs=1e-4, nan_ok=True), name
    tables = [pl.read_parquet(folder / "results.parquet") for folder in outputs]
    scores = [dict(zip(t["metric"], t["value"], strict=True)) for t in tables]
    assert scores[0].keys() == scores[1].keys()
    for name, value in scores[0].items():
        assert scores[1][name] == pytest.approx(value, abs=1e-4, nan_ok=True), name
    order = ["row_id", "position", "other_position"]
    predictions = [
        pl.read_parquet(folder / "predictions.parquet").sort(order) for folder in outputs
    ]
    assert predictions[0].select(order).equals(predictions[1].select(order))
    assert predictions[0]["prediction"].to_list() == pytest.approx(
        predictions[1]["prediction"].to_list(), abs=1e-4
    )
