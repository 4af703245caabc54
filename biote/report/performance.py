"""Performance against the compute of pre-training: a point for an encoder, and the plot of many."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from safetensors import safe_open

from biote.atomic import write_text_atomic
from biote.errors import DataError
from biote.modules.weights import WEIGHTS_FILE, load_encoder_config
from biote.tasks.export import ATTENTION, TOKENS


@dataclass(frozen=True, kw_only=True)
class PerformancePoint:
    """One encoder on one suite."""

    suite: str
    encoder: str
    weights_fingerprint: str
    parameters: int
    """Weights without the embedding; the language-model readout counts."""

    tokens: int | None
    """Tokens of pre-training; null where nobody wrote them down."""

    attention_flops: float | None
    """Floating-point operations of attention in pre-training, at most; null where not known."""

    score: float | None
    """Mean over categories and seeds; null where a category has no score yet."""

    score_sd: float | None
    """Standard deviation over seeds."""

    random_score: float | None
    """The same of the encoder with random weights; null where it has other tasks or seeds."""

    categories: int
    """Categories that have a score."""

    of_categories: int
    tasks: tuple[str, ...]
    """Tasks that have a score, in the order of the suite."""

    seeds: tuple[int, ...]
    """Seeds the score is the mean of."""

    quick: bool
    drop_leaks: bool
    patience: int | None
    """Validations without a better score after which training stopped; null where it did not."""

    configs: str
    """SHA-256 over what further YAMLs said."""

    def differing(self, other: PerformancePoint) -> list[str]:
        """In what another point is not of the same thing, so that both have no place in one plot.

        Args:
            other: The other point; its seeds may be others.
        """
        names = ("suite", "tasks", "quick", "drop_leaks", "patience", "configs")
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    @property
    def flops(self) -> float | None:
        """Floating-point operations of pre-training without attention, 6 x parameters x tokens."""
        return 6.0 * self.parameters * self.tokens if self.tokens is not None else None


def non_embedding_parameters(folder: Path) -> int:
    """Weights of an encoder folder without the embedding, readout included.

    Args:
        folder: Encoder folder; a readout that was left out of it is counted all the same.

    Raises:
        CheckpointError: If it is none.
    """
    stored = load_encoder_config(folder)
    count = 0 if stored.has_readout else stored.vocab_size * stored.encoder.width
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as weights:
        for name in weights.keys():
            if "embedding" not in name:
                count += math.prod(weights.get_slice(name).get_shape())
    return count


def pretraining_tokens(folder: Path) -> int | None:
    """Tokens an encoder was pre-trained on, as far as its folder tells.

    Args:
        folder: Encoder folder.
    """
    tokens = load_encoder_config(folder).extra.get(TOKENS)
    return int(tokens) if tokens is not None else None


def pretraining_attention(folder: Path) -> float | None:
    """Floating-point operations of attention in the pre-training of an encoder, at most.

    They are those of windows as long as they may be; shorter ones have less.

    Args:
        folder: Encoder folder.
    """
    flops = load_encoder_config(folder).extra.get(ATTENTION)
    return float(flops) if flops is not None else None


def write_point(path: Path, point: PerformancePoint) -> None:
    """Write a point as JSON, its FLOPs beside what they are made of."""
    write_text_atomic(path, json.dumps(asdict(point) | {"flops": point.flops}, indent=2) + "\n")


def read_point(path: Path) -> PerformancePoint:
    """Read a point that `write_point` wrote.

    Args:
        path: JSON file.

    Raises:
        DataError: If it is none.
    """
    try:
        content = json.loads(path.read_text())
        content.pop("flops")
        lists = {name: tuple(content[name]) for name in ("tasks", "seeds")}
        return PerformancePoint(**(content | lists))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "no point of performance", where=str(path), mend="give an output folder of biote suite"
        ) from error


def performance_figure(path: Path, points: Sequence[PerformancePoint], *, title: str) -> None:
    """Draw scores against pre-training compute, and the controls without any as lines.

    Args:
        path: PNG to write.
        points: Points with a score and known FLOPs.
        title: Title of the figure.
    """
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 5), dpi=150, layout="constrained")
        axes = figure.subplots()
        for number, point in enumerate(points):
            colour = f"C{number % 10}"
            assert point.flops is not None
            assert point.score is not None
            axes.errorbar(
                [point.flops],
                [point.score],
                yerr=[point.score_sd] if point.score_sd is not None else None,
                fmt="o",
                color=colour,
                capsize=3,
                label=f"{point.encoder} ({_count(point.seeds)})",
            )
            if point.random_score is not None:
                axes.axhline(
                    point.random_score,
                    color=colour,
                    linestyle=":",
                    linewidth=1,
                    label=f"{point.encoder}, random weights",
                )
        first = points[0]
        axes.set(
            xscale="log",
            xlabel="pre-training FLOPs (6 x non-embedding parameters x tokens)",
            ylabel=f"mean over {first.categories} of {first.of_categories} categories",
            title=title,
        )
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(path)


def _count(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
