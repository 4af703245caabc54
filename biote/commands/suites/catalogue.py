"""The suites, their tasks in their own order, and the figures published for them.

A task is one or two YAMLs below ``configs/`` with the data arguments that choose it; adding one is
adding a line here.
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
    configs: tuple[str, ...]
    """Shipped YAMLs, the later completing the first."""

    metric: str
    category: str
    """Tasks of one category are averaged before categories are."""

    also: tuple[str, ...] = ()
    """Further metrics of the table; they go into no average."""

    data: Mapping[str, str] = field(default_factory=dict)
    """Data arguments that choose the task."""

    monitor: str | None = None
    """Validation metric that weights are chosen by; null leaves the YAML's."""

    tests: tuple[SuiteTest, ...] = (SuiteTest(),)
    """Test sets, the one that counts in averages first."""

    quick: tuple[str, ...] = ()
    """Shipped YAMLs of a first look, where another number of steps is not enough."""

    stand_ins: tuple[str, ...] = ()
    """Values of data.train_on for a task without training file, the best first; what is trained on
    them is no score of the suite."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A published collection of tasks."""

    name: str
    title: str
    tasks: tuple[SuiteTask, ...]
    long_steps: int | None = None
    """Steps of encoders wider than the paper's medium one; null takes the YAML's for all."""


def _gue(name: str, category: str, *, metric: str = "mcc", also: tuple[str, ...] = ()) -> SuiteTask:
    return SuiteTask(
        name=name,
        configs=("benchmark/gue.yaml",),
        metric=metric,
        category=category,
        also=also,
        data={"task": name},
        monitor=f"val_{metric}",
        stand_ins=("dev",),
    )


def _tape(
    name: str,
    category: str,
    metric: str,
    tests: tuple[SuiteTest, ...],
    *,
    quick: tuple[str, ...] = (),
    stand_ins: tuple[str, ...] = (),
) -> SuiteTask:
    return SuiteTask(
        name=name,
        configs=(f"benchmark/tape_{name}.yaml",),
        metric=metric,
        category=category,
        tests=tests,
        quick=quick,
        stand_ins=stand_ins,
    )


def _test_sets(*names: str, published: str = "") -> tuple[SuiteTest, ...]:
    """Test sets, of which the first is the one that others report."""
    return tuple(
        SuiteTest(split=name, data={"test_set": name}, published="" if i else published)
        for i, name in enumerate(names)
    )


def _proteinglue(name: str, category: str, metric: str) -> SuiteTask:
    return SuiteTask(
        name=name,
        configs=("benchmark/proteinglue.yaml", f"benchmark/proteinglue/{name}.yaml"),
        metric=metric,
        category=category,
    )


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
        # An F1 that is reported without its average can be either.
        _gue("virus/covid", "covid variants", metric="f1_macro", also=("f1_weighted",)),
        *(
            _gue(f"prom/prom_{length}_{kind}", category)
            for length, category in (("300", "promoters"), ("core", "core promoters"))
            for kind in ("all", "notata", "tata")
        ),
        _gue("splice/reconstructed", "splice sites"),
    ),
    long_steps=30_000,
)

_STRUCTURE_TESTS: Final = ("cb513", "casp12", "ts115")

TAPE: Final = Suite(
    name="tape",
    title="TAPE",
    tasks=(
        _tape(
            "ss3",
            "secondary structure",
            "accuracy",
            _test_sets(
                *_STRUCTURE_TESTS,
                published="0.73 (TAPE transformer), 0.75 (TAPE LSTM, ResNet)",
            ),
            stand_ins=("flip", "valid"),
        ),
        _tape(
            "ss8",
            "secondary structure",
            "accuracy",
            _test_sets(*_STRUCTURE_TESTS),
            stand_ins=("valid",),
        ),
        _tape(
            "contacts",
            "contacts",
            "p_at_l5_medium_long",
            (SuiteTest(published="0.36 (TAPE)"),),
            quick=("benchmark/tape_contacts_quick.yaml",),
        ),
        _tape(
            "remote_homology",
            "remote homology",
            "accuracy",
            _test_sets(
                "fold_holdout",
                "superfamily_holdout",
                "family_holdout",
                published="0.21 (TAPE transformer), 0.26 (TAPE LSTM)",
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
        _proteinglue("ss3", "secondary structure, 3 states", "accuracy"),
        _proteinglue("ss8", "secondary structure, 8 states", "accuracy"),
        _proteinglue("buried", "buried residues", "accuracy"),
        _proteinglue("solvent_accessibility", "solvent accessibility", "pcc"),
        _proteinglue("ppi", "protein-protein interfaces", "auroc"),
        _proteinglue("epitope", "epitopes", "auroc"),
        _proteinglue("patch_rank", "hydrophobic patches", "pcc"),
    ),
)

SUITES: Final[dict[str, Suite]] = {suite.name: suite for suite in (GUE, TAPE, PROTEINGLUE)}
