"""Every task of every suite: its YAMLs parse, and its metric is one that its task computes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from lightning.pytorch.cli import LightningArgumentParser

import biote.datamodules
import biote.tasks
from biote.commands.lightning_cli import RequestedRun
from biote.commands.parsing import shipped_configs
from biote.commands.suites.catalogue import SUITES, Suite, SuiteTask
from biote.datamodules.gue import GUE_CLASSES
from biote.tasks.residue_metrics import METRICS
from biote.tasks.residues import ResidueTask

ENTRIES = [(suite, task) for suite in SUITES.values() for task in suite.tasks]


@pytest.fixture(scope="module")
def parser() -> LightningArgumentParser:
    """The parser of biote fit: building it takes seconds."""
    return RequestedRun(["--config", str(shipped_configs() / "benchmark/table.yaml")]).parser


def parsed(parser: LightningArgumentParser, task: SuiteTask, configs: tuple[str, ...]) -> Any:
    words = [word for name in configs for word in ("--config", str(shipped_configs() / name))]
    words += [w for key, value in task.data.items() for w in (f"--data.{key}", value)]
    for test in task.tests:
        words += [w for key, value in test.data.items() for w in (f"--data.{key}", value)]
    if task.monitor is not None:
        words += ["--checkpoint.monitor", task.monitor]
    return parser.parse_args(["fit", *words]).fit


def test_the_suites_are_those_of_the_literature() -> None:
    assert {name: len(suite.tasks) for name, suite in SUITES.items()} == {
        "gue": 28, "tape": 6, "proteinglue": 7,
    }  # fmt: skip
    assert {task.name for task in SUITES["gue"].tasks} == set(GUE_CLASSES)
    for suite in SUITES.values():
        assert max(Counter(task.name for task in suite.tasks).values()) == 1
    tests = {task.name: [test.split for test in task.tests] for task in SUITES["tape"].tasks}
    assert tests["ss3"] == tests["ss8"] == ["cb513", "casp12", "ts115"]
    assert tests["remote_homology"] == [
        "fold_holdout", "superfamily_holdout", "family_holdout",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("suite", "task"), ENTRIES, ids=[f"{suite.name}/{task.name}" for suite, task in ENTRIES]
)
def test_a_task_parses_and_is_chosen_by_what_it_reports(
    parser: LightningArgumentParser, suite: Suite, task: SuiteTask
) -> None:
    for configs in (task.configs, *([task.quick] if task.quick else [])):
        config = parsed(parser, task, configs)
        data = config.data.init_args
        assert (data.get("task") or task.name) == task.name
        model: Any = getattr(biote.tasks, config.model.class_path.rpartition(".")[2])
        if issubclass(model, ResidueTask):
            metrics = METRICS[model.kind].monitored
            kind: Any = getattr(biote.datamodules, config.data.class_path.rpartition(".")[2])
            options = {key: data[key] for key in ("task", "states") if key in data}
            assert kind("data", "character", batch_size=1, **options).residue_kind == model.kind
        else:
            metrics = tuple(name.removeprefix("val_") for name in model.monitored)
        assert task.metric in metrics
        assert config.checkpoint.monitor == f"val_{task.metric}"
        assert config.checkpoint.mode == "max"
        if suite.name == "tape" and configs is task.configs:
            assert config.model.init_args.optimizer.betas == (0.9, 0.999)


@pytest.mark.parametrize("name", ["ppi", "epitope"])
def test_epochs_are_the_papers(parser: LightningArgumentParser, name: str) -> None:
    # REFERENCE 4: 16 epochs, 64 for interfaces.
    (task,) = (task for task in SUITES["proteinglue"].tasks if task.name == name)
    assert parsed(parser, task, task.configs).trainer.max_epochs == {"ppi": 64, "epitope": 16}[name]
