"""What a suite's results come to: a table in its own order, and one aggregate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import polars as pl

from biote.commands.suites.catalogue import Suite, SuiteTask, SuiteTest
from biote.tasks.results import read_results

PRETRAINED = "pre-trained encoder"
RANDOM = "random encoder"
_STAND_IN = re.compile(r"\(trained on (.+)\)$")


@dataclass(frozen=True, kw_only=True)
class TestSummary:
    """One test set of a task."""

    task: SuiteTask
    test: SuiteTest
    n: int
    trained_on: str
    """What it was trained on: ``train``, or what stood in for it and makes it no score of the
    suite."""

    values: Mapping[str, Sequence[float]]
    """Metric of every seed, by model."""

    by_seed: Mapping[tuple[str, int], float]
    """Metric by model and seed."""

    @property
    def name(self) -> str:
        """The task, with the test set where it has several."""
        mark = "" if self.trained_on == "train" else f" (trained on {self.trained_on})"
        return f"{test_name(self.task, self.test)}{mark}"


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """Mean over the categories of a suite."""

    mean: float
    sd: float | None
    """Over seeds; null of one seed."""

    seeds: int
    categories: tuple[str, ...]
    """Those that went in."""


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
        A summary for each test set that has results.
    """
    if not folders:
        return []
    results = read_results(folders).filter(pl.col("metric") == task.metric)
    summaries = []
    for test in task.tests:
        rows = results.filter(pl.col("split") == test.split).sort("seed")
        if not len(rows):
            continue
        values: dict[str, list[float]] = {}
        by_seed: dict[tuple[str, int], float] = {}
        for row in rows.iter_rows(named=True):
            values.setdefault(row["model"], []).append(row["value"])
            by_seed[row["model"], row["seed"]] = row["value"]
        summaries.append(
            TestSummary(
                task=task,
                test=test,
                n=rows["n"][0],
                trained_on=_trained_on(rows["benchmark"].to_list()),
                values=values,
                by_seed=by_seed,
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
        values: One value a seed.
    """
    return fmean(values), stdev(values) if len(values) > 1 else None


def aggregate(suite: Suite, summaries: Sequence[TestSummary], model: str) -> Aggregate | None:
    """Average tasks within each category, and then categories, seed by seed.

    The first test set of a task counts. A category counts where each of its tasks that has
    results has them of every seed; tasks without their training file never do.

    Args:
        suite: The suite.
        summaries: Summaries of its tasks.
        model: Model to average.

    Returns:
        The aggregate, or null where there is nothing to average.
    """
    first = [s for s in summaries if s.test is s.task.tests[0] and s.trained_on == "train"]
    scored = [s for s in first if model in s.values]
    if not scored:
        return None
    shared = set.intersection(
        *({seed for name, seed in s.by_seed if name == model} for s in scored)
    )
    names = dict.fromkeys(task.category for task in suite.tasks)
    of_seed = []
    for seed in sorted(shared):
        categories = {
            name: fmean(s.by_seed[model, seed] for s in scored if s.task.category == name)
            for name in names
            if any(s.task.category == name for s in scored)
        }
        of_seed.append(fmean(categories.values()))
    if not of_seed or any(math.isnan(value) for value in of_seed):
        return None
    mean, sd = mean_and_sd(of_seed)
    present = tuple(name for name in names if any(s.task.category == name for s in scored))
    return Aggregate(mean=mean, sd=sd, seeds=len(of_seed), categories=present)


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
    header = ["task", "metric", "n", *models, "published"]
    lines = []
    for task in suite.tasks:
        of_task = {s.test.split: s for s in summaries if s.task is task}
        if not of_task and task.name in absent:
            lines.append(_absent_line(task.name, task, task.tests[0], models))
        for test in task.tests if of_task else ():
            name = test_name(task, test)
            if test.split in of_task:
                s = of_task[test.split]
                cells = [cell(s.values.get(model, ())) for model in models]
                lines.append([s.name, task.metric, f"{s.n}", *cells, test.published])
            elif name in absent:
                lines.append(_absent_line(name, task, test, models))
    return header, lines


def _absent_line(name: str, task: SuiteTask, test: SuiteTest, models: Sequence[str]) -> list[str]:
    return [name, task.metric, "absent", *[""] * len(models), test.published]


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
    """One line for each test set and model: mean, standard deviation and number of seeds.

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
                "metric": s.task.metric,
                "n": s.n,
                "model": model,
                "mean": mean_and_sd(values)[0],
                "sd": mean_and_sd(values)[1],
                "seeds": len(values),
                "published": s.test.published,
            }
            for s in summaries
            for model, values in s.values.items()
        ],
        schema_overrides={"sd": pl.Float64},
    )


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table as Markdown.

    Args:
        header: Column names.
        lines: Cells of every line.
    """
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
