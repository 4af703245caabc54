"""What a suite says of results: its table, its mean, and which outputs share a plot."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from biote.commands.suites.average import aggregate
from biote.commands.suites.catalogue import GUE, PROTEINGLUE, Suite
from biote.commands.suites.summary import (
    TestSummary,
    cell,
    long_table,
    summarise_task,
    table,
    unscored_notes,
)
from biote.modules.base import PRETRAINED
from biote.report.performance import PerformancePoint, read_point, write_point
from biote.tasks.results import ResultRow, write_results

POINT = PerformancePoint(
    suite="gue", encoder="e", weights_fingerprint="", parameters=10, tokens=100,
    attention_flops=5.0, score=0.5, score_sd=None, random_score=None,
    categories=1, of_categories=7, tasks=("tf/0",), seeds=(0,),
    quick=False, drop_leaks=False, patience=None, configs="",
)  # fmt: skip


def summaries(
    folder: Path, suite: Suite, name: str, values: dict[str, float], *seeds: int
) -> list[TestSummary]:
    """Summaries of a task with the same values for every seed."""
    (task,) = (task for task in suite.tasks if task.name == name)
    runs = []
    for seed in seeds:
        run = folder / name / f"seed{seed}"
        run.mkdir(parents=True)
        write_results(
            run,
            [
                ResultRow(
                    benchmark=name, split="test", fold=None, seed=seed, model=PRETRAINED, head="h",
                    metric=metric, value=value, n=50, unit="", config_hash="",
                    data_fingerprint="", weights_fingerprint="", package_version="",
                )
                for metric, value in values.items()
            ],
        )  # fmt: skip
        runs.append(run)
    return summarise_task(task, runs)


def test_the_bound_and_unscored_residues_stand_in_the_table(tmp_path: Path) -> None:
    rows = summaries(
        tmp_path, PROTEINGLUE, "ss3",
        {"accuracy": 0.5, "upper_bound_accuracy": 0.8764, "unscored_residues": 7.0}, 0,
    ) + summaries(
        tmp_path, PROTEINGLUE, "ppi",
        {"auroc": 0.6, "upper_bound_auroc": 1.0, "unscored_residues": 0.0}, 0,
    )  # fmt: skip
    header, lines = table(PROTEINGLUE, rows, {"ss8": "no file"})
    assert header == ["task", "metric", "n", PRETRAINED, "upper bound", "published"]
    assert lines == [
        ["ss3", "accuracy", "50", "0.500", "0.876", ""],
        ["ss8", "accuracy", "absent", "", "", ""],
        ["ppi", "auroc", "50", "0.600", "", ""],
    ]
    (note,) = unscored_notes(rows)
    assert note.startswith("ss3: 7 labelled residues")
    # Where no tokenizer loses anything there is no column.
    assert "upper bound" not in table(PROTEINGLUE, rows[1:], {})[0]


def test_covid_has_both_averages_of_f1_and_one_counts(tmp_path: Path) -> None:
    rows = summaries(tmp_path, GUE, "virus/covid", {"f1_macro": 0.25, "f1_weighted": 0.75}, 0)
    _, lines = table(GUE, rows, {})
    assert [line[:4] for line in lines] == [
        ["virus/covid", "f1_macro", "50", "0.250"],
        ["virus/covid", "f1_weighted", "50", "0.750"],
    ]
    assert aggregate(GUE, rows, PRETRAINED).mean == 0.25


def test_a_category_says_how_many_of_its_tasks_it_is_of(tmp_path: Path) -> None:
    rows = summaries(tmp_path, GUE, "tf/0", {"mcc": 0.2}, 0)
    rows += summaries(tmp_path, GUE, "virus/covid", {"f1_macro": 0.4}, 0, 1)
    mean = aggregate(GUE, rows, PRETRAINED)
    assert mean.categories == ("human transcription factors (1 of 5)", "covid variants")
    assert mean.mean == pytest.approx(0.3)
    assert (mean.seeds, mean.tasks) == ((0,), ("tf/0", "virus/covid"))


def test_why_there_is_no_mean(tmp_path: Path) -> None:
    rows = summaries(tmp_path, GUE, "tf/0", {"mcc": 0.2}, 0)
    apart = rows + summaries(tmp_path, GUE, "tf/1", {"mcc": 0.2}, 1, 2)
    mean = aggregate(GUE, apart, PRETRAINED)
    assert mean.mean is None
    assert mean.reason == "the tasks share no seed (tf/0 has 0; tf/1 has 1, 2)"
    undefined = rows + summaries(tmp_path, GUE, "tf/2", {"mcc": math.nan}, 0)
    mean = aggregate(GUE, undefined, PRETRAINED)
    assert (mean.mean, mean.reason) == (None, "no value is defined for tf/2 with seed 0")
    assert aggregate(GUE, rows, "random encoder").reason.startswith("no task has results")


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        (replace(POINT, encoder="f", seeds=(0, 1), score=0.1), []),
        (replace(POINT, tasks=("tf/1",)), ["tasks"]),  # as many categories
        (replace(POINT, drop_leaks=True, quick=True), ["quick", "drop_leaks"]),
        (replace(POINT, patience=3, configs="other"), ["patience", "configs"]),
    ],
)
def test_points_of_other_tasks_or_protocols_share_no_plot(
    other: PerformancePoint, differing: list[str], tmp_path: Path
) -> None:
    write_point(tmp_path / "point.json", other)
    assert read_point(tmp_path / "point.json") == other
    assert POINT.differing(other) == differing


def test_a_seed_without_a_value_leaves_the_mean_undefined(tmp_path: Path) -> None:
    # The module of the standard library fails on NaN where it computes a deviation.
    assert cell([math.nan, 0.1]) == "-"
    rows = summaries(tmp_path, GUE, "tf/0", {"mcc": math.nan}, 0, 1)
    line = long_table(rows).row(0, named=True)
    assert math.isnan(line["mean"])
    assert line["sd"] is None
    assert line["seeds"] == 2
