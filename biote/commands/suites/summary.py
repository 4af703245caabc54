"""What a suite's results come to: a table in its own order."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import polars as pl

from biote.commands.suites.catalogue import Suite, SuiteTask, SuiteTest
from biote.modules.base import PRETRAINED, RANDOM
from biote.tasks.residue_bounds import UPPER_BOUND
from biote.tasks.residues import UNSCORED
from biote.tasks.results import read_results

_ROUNDING = 1e-6
_STAND_IN = re.compile(r"\(trained on (.+)\)$")


@dataclass(frozen=True, kw_only=True, eq=False)
class TestSummary:
    """One test set of a task, by one metric."""

    task: SuiteTask
    test: SuiteTest
    metric: str
    n: int
    trained_on: str
    """What it was trained on: ``train``, or what stood in for it and makes it no score of the
    suite."""

    values: Mapping[str, Sequence[float]]
    """Metric of every seed, by model."""

    by_seed: Mapping[tuple[str, int], float]
    """Metric by model and seed."""

    upper_bound: float | None
    """Highest value that predictions for tokens can have; null where nothing was bounded."""

    unscored: int
    """Labelled residues behind the encoder's context, which no model is scored on."""

    @property
    def counts(self) -> bool:
        """Whether it goes into the average of the suite."""
        return (
            self.test is self.task.tests[0]
            and self.metric == self.task.metric
            and self.trained_on == "train"
        )

    @property
    def name(self) -> str:
        """The task, with the test set where it has several."""
        mark = "" if self.trained_on == "train" else f" (trained on {self.trained_on})"
        return f"{test_name(self.task, self.test)}{mark}"


def test_name(task: SuiteTask, test: SuiteTest) -> str:
    """Name of a line: the task, with the test set where it has several.

    Args:
        task: The task.
        test: One of its test sets.
    """
    return f"{task.name}, {test.split}" if len(task.tests) > 1 else task.name


def summarise_task(task: SuiteTask, folders: Sequence[Path]) -> list[TestSummary]:
    """Collect the results of a task.

    Args:
        task: The task.
        folders: Folders of its runs that hold results.

    Returns:
        A summary for each test set and metric that has results.
    """
    if not folders:
        return []
    results = read_results(folders)
    summaries = []
    for test in task.tests:
        of_test = results.filter(split=test.split).sort("seed")
        unscored = of_test.filter(metric=UNSCORED)["value"].to_list()
        for metric in (task.metric, *task.also):
            rows = of_test.filter(metric=metric)
            if not len(rows):
                continue
            values: dict[str, list[float]] = {}
            by_seed: dict[tuple[str, int], float] = {}
            for row in rows.iter_rows(named=True):
                values.setdefault(row["model"], []).append(row["value"])
                by_seed[row["model"], row["seed"]] = row["value"]
            bounds = of_test.filter(metric=f"{UPPER_BOUND}{metric}")["value"].to_list()
            summaries.append(
                TestSummary(
                    task=task,
                    test=test,
                    metric=metric,
                    n=rows["n"][0],
                    trained_on=_trained_on(rows["benchmark"].to_list()),
                    values=values,
                    by_seed=by_seed,
                    upper_bound=max(bounds, default=None),
                    unscored=int(max(unscored, default=0)),
                )
            )
    return summaries


def _trained_on(benchmarks: Sequence[str]) -> str:
    """What results were trained on, by the names of their benchmark."""
    found = [match[1] for match in map(_STAND_IN.search, benchmarks) if match]
    return found[0] if found else "train"


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and sample standard deviation where there are two or more values.

    Args:
        values: One value a seed; of a seed without a value, NaN, which leaves the mean undefined.
    """
    if any(math.isnan(value) for value in values):
        return math.nan, None
    return fmean(values), stdev(values) if len(values) > 1 else None


def unscored_notes(summaries: Sequence[TestSummary]) -> list[str]:
    """What to say of residues that no model is scored on.

    Args:
        summaries: Summaries of tasks.
    """
    return [
        f"{s.name}: {s.unscored} labelled residues stand behind the encoder's context and are "
        "scored for no model."
        for s in summaries
        if s.unscored and s.metric == s.task.metric
    ]


def table(
    suite: Suite, summaries: Sequence[TestSummary], absent: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """The suite's table: header and lines, in the suite's own order.

    Args:
        suite: The suite.
        summaries: Summaries of its tasks.
        absent: Why a line has no results, by the name of the task or of one of its test sets.

    Returns:
        Column names, and the cells of every line.
    """
    models = list(dict.fromkeys(name for s in summaries for name in s.values))
    models.sort(key=lambda name: [PRETRAINED, RANDOM].index(name) if name in (PRETRAINED, RANDOM)
                else 2)  # fmt: skip
    bounded = any(_bound(s) for s in summaries)
    between = ["upper bound"] if bounded else []
    header = ["task", "metric", "n", *models, *between, "published"]
    empty = [""] * (len(models) + len(between))
    lines = []
    for task in suite.tasks:
        of_task = [s for s in summaries if s.task is task]
        if not of_task and task.name in absent:
            lines.append([task.name, task.metric, "absent", *empty, task.tests[0].published])
        for test in task.tests if of_task else ():
            found = [s for s in of_task if s.test is test]
            for s in found:
                cells = [cell(s.values.get(model, ())) for model in models]
                cells += [_bound(s)] if bounded else []
                # What others report is the task's own metric.
                published = test.published if s.metric == task.metric else ""
                lines.append([s.name, s.metric, f"{s.n}", *cells, published])
            if not found and (name := test_name(task, test)) in absent:
                lines.append([name, task.metric, "absent", *empty, test.published])
    return header, lines


def _bound(summary: TestSummary) -> str:
    """The upper bound where it is below 1."""
    bound = summary.upper_bound
    return f"{bound:.3f}" if bound is not None and bound < 1 - _ROUNDING else ""


def cell(values: Sequence[float]) -> str:
    """A mean with its standard deviation over seeds.

    Args:
        values: One value a seed.
    """
    if not values:
        return ""
    mean, sd = mean_and_sd(values)
    if math.isnan(mean):
        return "-"
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"


def long_table(summaries: Sequence[TestSummary]) -> pl.DataFrame:
    """One line for each test set, metric and model: mean, standard deviation and number of seeds.

    Args:
        summaries: Summaries of tasks.
    """
    return pl.DataFrame(
        [
            {
                "task": s.task.name,
                "split": s.test.split,
                "category": s.task.category,
                "trained_on": s.trained_on,
                "metric": s.metric,
                "n": s.n,
                "model": model,
                "mean": mean_and_sd(values)[0],
                "sd": mean_and_sd(values)[1],
                "seeds": len(values),
                "upper_bound": s.upper_bound,
                "unscored_residues": s.unscored,
                "published": s.test.published,
            }
            for s in summaries
            for model, values in s.values.items()
        ],
        schema_overrides={"sd": pl.Float64, "upper_bound": pl.Float64},
    )


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table as Markdown.

    Args:
        header: Column names.
        lines: Cells of every line.
    """
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
