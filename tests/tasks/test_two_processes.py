from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from biote.datamodules.table import TableDataModule

SCRIPT = Path(__file__).with_name("two_processes.py")
ROWS = 25
"""Training rows: steps of 8, 8, 8 and 1, in the last of which one process has nothing to do."""


@pytest.fixture(scope="module", params=["ddp", "sharded"])
def outputs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_table: Callable[..., TableDataModule],
    corpora: list[Path],
    run_two: Callable[..., Any],
) -> tuple[Path, Path]:
    """What the runs of one process and of two together wrote."""
    table = make_table(train=ROWS, validation=9, test=10)._root
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    run_two(
        [SCRIPT, request.param, table, *corpora, two],
        meanwhile=lambda: runpy.run_path(str(SCRIPT))["run_all"](table, corpora, one, world=1),
    )
    return one, two


def load(folder: Path, job: str, rank: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / job / f"rank{rank}.pt", weights_only=False)
    return content


@pytest.mark.parametrize("job", ["pretrain", "accumulate", "regression", "classification"])
def test_weights_do_not_depend_on_the_number_of_processes(
    outputs: tuple[Path, Path], job: str
) -> None:
    # REFERENCE 6, 17: the processes hold different numbers of masked tokens, or of rows.
    one, first, second = load(outputs[0], job), *(load(outputs[1], job, rank) for rank in range(2))
    assert one["steps"] == first["steps"] == second["steps"] > 4
    key = "masked" if "masked" in one else "rows"
    assert first[key] != second[key]
    for name, value in one["weights"].items():
        if name.startswith(("encoder.", "readout.", "head.", "target_")):
            for other in (first, second):
                torch.testing.assert_close(other["weights"][name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("job", ["pretrain", "accumulate"])
def test_losses_do_not_depend_on_the_number_of_processes(
    outputs: tuple[Path, Path], job: str
) -> None:
    one, *ranks = load(outputs[0], job), load(outputs[1], job), load(outputs[1], job, 1)
    accumulated = 2 if job == "accumulate" else 1
    assert one["steps"] >= 20
    assert len(one["losses"]) == one["steps"] * accumulated
    for step in range(one["steps"]):
        micro = slice(step * accumulated, (step + 1) * accumulated)
        # Lightning divides by the accumulated batches, and the processes are averaged.
        whole = sum(one["losses"][micro])
        shares = [sum(rank["losses"][micro]) for rank in ranks]
        assert sum(shares) / 2 == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("job", ["pretrain", "accumulate"])
def test_masked_tokens_are_divided_unevenly(outputs: tuple[Path, Path], job: str) -> None:
    one, first, second = load(outputs[0], job), *(load(outputs[1], job, rank) for rank in range(2))
    assert sum(one["masked"]) == sum(first["masked"]) + sum(second["masked"])
    assert any(a != b for a, b in zip(first["masked"], second["masked"], strict=True))


@pytest.mark.parametrize("job", ["regression", "classification"])
def test_every_row_is_trained_on_once_an_epoch(outputs: tuple[Path, Path], job: str) -> None:
    one, first, second = load(outputs[0], job), *(load(outputs[1], job, rank) for rank in range(2))
    rows = Counter(name for rank in (first, second) for names in rank["rows"] for name in names)
    assert rows == Counter(name for names in one["rows"] for name in names)
    assert set(rows.values()) == {2}
    assert len(rows) == ROWS
    assert () in second["rows"]
    for step, names in enumerate(one["rows"]):
        assert {*first["rows"][step], *second["rows"][step]} == set(names)


@pytest.mark.parametrize("job", ["regression", "classification"])
def test_a_process_without_rows_has_no_loss(outputs: tuple[Path, Path], job: str) -> None:
    one, *ranks = load(outputs[0], job), load(outputs[1], job), load(outputs[1], job, 1)
    idle = [step for step, names in enumerate(ranks[1]["rows"]) if not names]
    assert idle == [3, 7]
    assert [ranks[1]["losses"][step] for step in idle] == [0, 0]
    # The losses of the processes are averaged, so each is twice its share.
    for whole, *shares in zip(one["losses"], *(rank["losses"] for rank in ranks), strict=True):
        assert whole == pytest.approx(sum(shares) / 2, abs=1e-5)


@pytest.mark.parametrize("job", ["pretrain", "accumulate"])
def test_masked_tokens_are_counted_over_all_processes(outputs: tuple[Path, Path], job: str) -> None:
    one, two = (load(folder, job)["weights"]["unigram_counts"] for folder in outputs)
    assert two.sum() == one.sum()
    assert torch.equal(two, one)


@pytest.mark.parametrize("job", ["pretrain", "accumulate"])
@pytest.mark.parametrize("kind", ["model", "unigram", "gain"])
def test_validation_is_over_all_processes(outputs: tuple[Path, Path], job: str, kind: str) -> None:
    one, *ranks = load(outputs[0], job), load(outputs[1], job), load(outputs[1], job, 1)
    assert ("model", "protein") in one["summaries"]
    for name, summary in one["summaries"].items():
        if name[0] == kind:
            for rank in ranks:
                assert rank["summaries"][name] == pytest.approx(summary, abs=1e-4)


@pytest.mark.parametrize("job", ["regression", "classification"])
def test_results_do_not_depend_on_the_number_of_processes(
    outputs: tuple[Path, Path], job: str
) -> None:
    one, two = (load(folder, job)["validated"] for folder in outputs)
    assert one == pytest.approx(two, abs=1e-4)
    results = [pl.read_parquet(folder / job / "results.parquet") for folder in outputs]
    for name in ("metric", "n", "unit", "fold", "data_fingerprint"):
        assert results[1][name].to_list() == results[0][name].to_list(), name
    assert results[1]["value"].to_list() == pytest.approx(results[0]["value"].to_list(), abs=1e-4)
    predictions = [
        pl.read_parquet(folder / job / "predictions.parquet").sort("row_id", "output")
        for folder in outputs
    ]
    assert predictions[1]["row_id"].to_list() == predictions[0]["row_id"].to_list()
    assert predictions[1]["target"].to_list() == predictions[0]["target"].to_list()
    assert predictions[1]["prediction"].to_list() == pytest.approx(
        predictions[0]["prediction"].to_list(), abs=1e-4
    )
