"""One number for a suite: the mean over its categories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from biote.commands.suites.catalogue import Suite
from biote.commands.suites.summary import TestSummary, mean_and_sd


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """Mean over the categories of a suite."""

    mean: float | None
    """Null where there is none."""

    sd: float | None
    """Over seeds; null of one seed."""

    seeds: tuple[int, ...]
    """Seeds that every task has results of."""

    categories: tuple[str, ...]
    """Those that went in, with the number of their tasks where it was not all."""

    tasks: tuple[str, ...]
    """Tasks that went in."""

    reason: str = ""
    """Why there is no mean."""


def aggregate(suite: Suite, summaries: Sequence[TestSummary], model: str) -> Aggregate:
    """Average tasks within each category, and then categories, seed by seed.

    The first test set and metric of a task count; tasks without their training file never do.
    Seeds count that every task with results has.

    Args:
        suite: The suite.
        summaries: Summaries of its tasks.
        model: Model to average.

    Returns:
        The aggregate, without a mean where there is nothing to average, where tasks share no seed
        or where one has no value.
    """
    scored = [s for s in summaries if s.counts and model in s.values]
    seeds_of = {s: {seed for name, seed in s.by_seed if name == model} for s in scored}
    shared = sorted(set.intersection(*seeds_of.values())) if scored else []
    of_category: dict[str, list[TestSummary]] = {}
    for category in dict.fromkeys(task.category for task in suite.tasks):
        if found := [s for s in scored if s.task.category == category]:
            of_category[category] = found
    of_seed = [
        fmean(fmean(s.by_seed[model, seed] for s in found) for found in of_category.values())
        for seed in shared
    ]
    reason = _no_mean(scored, seeds_of, shared, model)
    mean, sd = mean_and_sd(of_seed) if not reason else (None, None)
    return Aggregate(
        mean=mean,
        sd=sd,
        seeds=tuple(shared),
        categories=tuple(_share(suite, name, len(found)) for name, found in of_category.items()),
        tasks=tuple(s.task.name for s in scored),
        reason=reason,
    )


def _no_mean(
    scored: Sequence[TestSummary],
    seeds_of: Mapping[TestSummary, set[int]],
    shared: Sequence[int],
    model: str,
) -> str:
    """Why there is no mean, if there is none."""
    if not scored:
        return "no task has results of its own training file"
    if not shared:
        seeds = (f"{s.task.name} has {', '.join(map(str, sorted(seeds_of[s])))}" for s in scored)
        return f"the tasks share no seed ({'; '.join(seeds)})"
    undefined = [
        f"{s.task.name} with seed {seed}"
        for s in scored
        for seed in shared
        if math.isnan(s.by_seed[model, seed])
    ]
    return f"no value is defined for {', '.join(undefined)}" if undefined else ""


def _share(suite: Suite, category: str, found: int) -> str:
    """A category, with the number of its tasks that have results where it is not all."""
    count = sum(task.category == category for task in suite.tasks)
    return category if found == count else f"{category} ({found} of {count})"
