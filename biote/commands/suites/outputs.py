"""What a suite writes and shows: its table, and performance against the compute of pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from biote.atomic import atomic_path, write_text_atomic
from biote.commands.suites.average import aggregate
from biote.commands.suites.data import SuiteSettings, content_digest
from biote.commands.suites.summary import (
    TestSummary,
    long_table,
    markdown,
    table,
    unscored_notes,
)
from biote.modules.base import PRETRAINED, RANDOM
from biote.report.performance import (
    PerformancePoint,
    non_embedding_parameters,
    performance_figure,
    pretraining_attention,
    pretraining_tokens,
    read_point,
    write_point,
)

TABLE_FILE: Final = "suite.csv"
MARKDOWN_FILE: Final = "suite.md"
POINT_FILE: Final = "performance.json"
FIGURE_FILE: Final = "performance_per_flop.png"


def show_table(
    settings: SuiteSettings,
    summaries: Sequence[TestSummary],
    absent: Mapping[str, str],
    console: Console,
) -> None:
    """Print and write the table.

    Args:
        settings: What all runs share.
        summaries: Summaries of the tasks.
        absent: Why a line has no results, by its name.
        console: Where to print.
    """
    header, lines = table(settings.suite, summaries, absent)
    said = [
        *(_sentence(settings, summaries, name) for name in (PRETRAINED, RANDOM)),
        *unscored_notes(summaries),
    ]
    protocol = f"{', quick' if settings.quick else ''}{', no leaks' if settings.drop_leaks else ''}"
    title = f"{settings.suite.title}{protocol}, {settings.encoder}"
    shown_table = Table(title=title, caption="± standard deviation over seeds")
    for number, column in enumerate(header):
        shown_table.add_column(column, justify="right" if 1 < number < len(header) - 1 else "left")
    for line in lines:
        shown_table.add_row(*line)
    console.print(shown_table)
    said = [sentence for sentence in said if sentence]
    for sentence in said:
        console.print(sentence, highlight=False, soft_wrap=True)
    for name, reason in absent.items():
        console.print(f"{name} is absent: {reason}", highlight=False, soft_wrap=True)
    reasons = [f"- {name}: {reason}" for name, reason in absent.items()]
    notes = ["± is the standard deviation over seeds.", *said, *reasons]
    text = f"# {title}\n\n{markdown(header, lines)}\n" + "\n\n".join(notes) + "\n"
    write_text_atomic(settings.output / MARKDOWN_FILE, text)
    if summaries:
        with atomic_path(settings.output / TABLE_FILE) as partial:
            long_table(summaries).write_csv(partial)


def _sentence(settings: SuiteSettings, summaries: Sequence[TestSummary], model: str) -> str:
    """The mean of a model, or why there is none; nothing of a model that was not run."""
    if not any(model in summary.values for summary in summaries):
        return ""
    mean = aggregate(settings.suite, summaries, model)
    if mean.mean is None:
        return f"No mean, {model}: {mean.reason}."
    count = len({task.category for task in settings.suite.tasks})
    deviation = f" ± {mean.sd:.3f}" if mean.sd is not None else ""
    return (
        f"Mean over {len(mean.categories)} of {count} categories ({', '.join(mean.categories)}), "
        f"{model}: {mean.mean:.3f}{deviation}."
    )


def show_point(
    settings: SuiteSettings,
    summaries: Sequence[TestSummary],
    tokens: int | None,
    compare: Sequence[Path],
    console: Console,
) -> None:
    """Write the point of performance against compute, and draw it where the compute is known.

    Args:
        settings: What all runs share.
        summaries: Summaries of the tasks.
        tokens: Tokens of pre-training, where the encoder folder does not tell.
        compare: Outputs of the same suite with other encoders.
        console: Where to print.

    Raises:
        DataError: If one of the other outputs has no point.
    """
    mean = aggregate(settings.suite, summaries, PRETRAINED)
    control = aggregate(settings.suite, summaries, RANDOM)
    alike = (control.tasks, control.seeds) == (mean.tasks, mean.seeds)
    point = PerformancePoint(
        suite=settings.suite.name,
        encoder=str(settings.encoder),
        weights_fingerprint=settings.stored.weights_fingerprint,
        parameters=non_embedding_parameters(settings.encoder),
        tokens=tokens if tokens is not None else pretraining_tokens(settings.encoder),
        attention_flops=pretraining_attention(settings.encoder),
        score=mean.mean,
        score_sd=mean.sd,
        random_score=control.mean if alike else None,
        categories=len(mean.categories),
        of_categories=len({task.category for task in settings.suite.tasks}),
        tasks=mean.tasks,
        seeds=mean.seeds,
        quick=settings.quick,
        drop_leaks=settings.drop_leaks,
        patience=settings.patience,
        configs=content_digest(settings.configs),
    )
    write_point(settings.output / POINT_FILE, point)
    others = [read_point(folder / POINT_FILE) for folder in compare]
    comparable = []
    for other in others:
        if differing := point.differing(other):
            console.print(
                f"{other.encoder} is left out of the plot: another {', '.join(differing)}.",
                highlight=False,
                soft_wrap=True,
            )
        else:
            comparable.append(other)
    drawn = [p for p in (point, *comparable) if p.flops is not None and p.score is not None]
    flops = "unknown" if point.flops is None else f"{point.flops:.3g}"
    console.print(f"Pre-training FLOPs: {flops} (6 x {point.parameters:,} parameters x tokens).")
    if point.attention_flops is not None:
        console.print(f"Attention, apart from them: at most {point.attention_flops:.3g}.")
    if point.flops is None:
        console.print("The encoder folder does not tell its tokens: give --pretraining-tokens.")
    if drawn:
        title = f"{settings.suite.title}{', quick' if settings.quick else ''}"
        performance_figure(settings.output / FIGURE_FILE, drawn, title=title)
        console.print(f"Plot: {settings.output / FIGURE_FILE}")
    console.print(f"Tables: {settings.output / MARKDOWN_FILE}, {settings.output / TABLE_FILE}")
