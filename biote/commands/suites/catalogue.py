"""The suites, their tasks in their own order, and the figures published for them.

A task is a YAML below ``configs/`` with the data arguments that choose it; adding one is adding a
line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, kw_only=True)
class SuiteTest:
    """One test set of a task."""

    split: str = "test"
    """Name of the split in results."""

    data: Mapping[str, str] = field(default_factory=dict)
    """Data arguments that choose it."""

    published: str = ""
    """What others report on it, and who."""


@dataclass(frozen=True, kw_only=True)
class SuiteTask:
    """One task of a suite."""

    name: str
    config: str
    """Shipped YAML."""

    metric: str
    category: str
    """Tasks of one category are averaged before categories are."""

    data: Mapping[str, str] = field(default_factory=dict)
    """Data arguments that choose the task."""

    monitor: str | None = None
    """Validation metric that weights are chosen by; null leaves the YAML's."""

    tests: tuple[SuiteTest, ...] = (SuiteTest(),)
    """Test sets, the one that counts in averages first."""

    root: str = ""
    """What data.root is below the data folder."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A published collection of tasks."""

    name: str
    title: str
    tasks: tuple[SuiteTask, ...]
    has_dev: bool = False
    """Whether a task without training file can be trained on its dev file."""

    long_steps: int | None = None
    """Steps of encoders wider than the paper's medium one; null takes the YAML's for all."""


def _gue(name: str, category: str, *, metric: str = "mcc") -> SuiteTask:
    return SuiteTask(
        name=name,
        config="benchmark/gue.yaml",
        metric=metric,
        category=category,
        data={"task": name},
        monitor=f"val_{metric}",
    )


def _tape(
    name: str, category: str, metric: str, tests: tuple[SuiteTest, ...], *, root: str = ""
) -> SuiteTask:
    config = f"benchmark/tape_{name}.yaml"
    return SuiteTask(
        name=name, config=config, metric=metric, category=category, tests=tests, root=root
    )


def _proteinglue(name: str, metric: str) -> SuiteTask:
    config = f"benchmark/proteinglue_{name}.yaml"
    return SuiteTask(name=name, config=config, metric=metric, category=name.replace("_", " "))


_MARKS: Final = (
    "H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3", "H3K9ac", "H4",
    "H4ac",
)  # fmt: skip

GUE: Final = Suite(
    name="gue",
    title="GUE",
    tasks=(
        *(_gue(f"EMP/{mark}", "epigenetic marks") for mark in _MARKS),
        *(_gue(f"tf/{number}", "human transcription factors") for number in range(5)),
        *(_gue(f"mouse/{number}", "mouse transcription factors") for number in range(5)),
        _gue("virus/covid", "covid variants", metric="f1_macro"),
        *(
            _gue(f"prom/prom_{length}_{kind}", category)
            for length, category in (("300", "promoters"), ("core", "core promoters"))
            for kind in ("all", "notata", "tata")
        ),
        _gue("splice/reconstructed", "splice sites"),
    ),
    has_dev=True,
    long_steps=30_000,
)

TAPE: Final = Suite(
    name="tape",
    title="TAPE",
    tasks=(
        _tape(
            "ss3",
            "secondary structure",
            "accuracy",
            (SuiteTest(published="CB513: 0.73 (TAPE transformer), 0.75 (TAPE LSTM, ResNet)"),),
        ),
        _tape("ss8", "secondary structure", "accuracy", (SuiteTest(),)),
        _tape(
            "contacts",
            "contacts",
            "p_at_l5_medium_long",
            (SuiteTest(published="0.36 (TAPE)"),),
            root="tape/proteinnet",
        ),
        _tape(
            "remote_homology",
            "remote homology",
            "accuracy",
            (
                SuiteTest(
                    split="fold_holdout",
                    data={"test_set": "fold_holdout"},
                    published="0.21 (TAPE transformer), 0.26 (TAPE LSTM)",
                ),
                SuiteTest(split="superfamily_holdout", data={"test_set": "superfamily_holdout"}),
                SuiteTest(split="family_holdout", data={"test_set": "family_holdout"}),
            ),
        ),
        _tape("fluorescence", "fluorescence", "spearman", (SuiteTest(published="0.68 (TAPE)"),)),
        _tape("stability", "stability", "spearman", (SuiteTest(published="0.73 (TAPE)"),)),
    ),
)

PROTEINGLUE: Final = Suite(
    name="proteinglue",
    title="ProteinGLUE",
    tasks=(
        _proteinglue("ss3", "accuracy"),
        _proteinglue("ss8", "accuracy"),
        _proteinglue("buried", "accuracy"),
        _proteinglue("accessibility", "pcc"),
        _proteinglue("interface", "auroc"),
        _proteinglue("epitope", "auroc"),
        _proteinglue("hydrophobic_patch", "pcc"),
    ),
)

SUITES: Final[dict[str, Suite]] = {suite.name: suite for suite in (GUE, TAPE, PROTEINGLUE)}
