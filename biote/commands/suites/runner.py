"""Runs of one task: fine-tune, test on every test set, compare, and go on where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule
from lightning.fabric.utilities.exceptions import MisconfigurationException

import biote.datamodules.published
from biote.atomic import atomic_path
from biote.commands.comparison import trivial_rows
from biote.commands.lightning_cli import BioteCLI
from biote.commands.parsing import shipped_configs
from biote.commands.suites.catalogue import Suite, SuiteTask, SuiteTest
from biote.datamodules.base import LabelledDataModule
from biote.errors import ConfigError, DataError
from biote.modules.weights import StoredEncoder
from biote.tasks.results import RESULTS_FILE, ResultRow, read_results

logger = logging.getLogger(__name__)

Model = Literal["encoder", "random"]
_REQUEST: Final = "requested.json"
_DONE: Final = "done.json"
_MEDIUM_WIDTH: Final = 2048
"""Widest encoder that the paper trains for the shorter number of steps."""


class Absent(Exception):
    """Data or configuration of a task are not there."""


@dataclass(frozen=True, kw_only=True)
class SuiteSettings:
    """What all runs of a suite share."""

    suite: Suite
    encoder: Path
    stored: StoredEncoder
    data: Path
    output: Path
    quick: bool
    train_on_dev: bool
    patience: int | None
    configs: tuple[str, ...]
    """Further YAML of the user, the last to count."""


def task_folder(settings: SuiteSettings, task: SuiteTask) -> Path:
    """Folder of all runs of a task."""
    return settings.output / task.name.replace("/", "_")


def run_folders(settings: SuiteSettings, task: SuiteTask) -> list[Path]:
    """Folders of a task that hold results."""
    found = task_folder(settings, task).glob(f"**/{RESULTS_FILE}")
    return sorted(path.parent for path in found)


def data_arguments(
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, *, train_on_dev: bool
) -> dict[str, str]:
    """What a task says of its data beside its YAML."""
    arguments = {"root": str(settings.data / task.root), **task.data, **test.data}
    if train_on_dev:
        arguments["train_on"] = "dev"
    config = _content(task)["data"]["init_args"]
    if config.get("context", 0) > settings.stored.encoder.context:
        arguments["context"] = str(settings.stored.encoder.context)
    return arguments


def open_data(
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, *, train_on_dev: bool
) -> LightningDataModule:
    """The data of a task, nothing read yet.

    Raises:
        Absent: If its configuration or files are not there.
        BioteError: If the configuration cannot be used.
    """
    if not (shipped_configs() / task.config).is_file():
        raise Absent(f"no configuration {task.config}")
    described = _content(task)["data"]
    given = data_arguments(settings, task, test, train_on_dev=train_on_dev)
    typed = {name: yaml.safe_load(value) for name, value in given.items() if name != "task"}
    if "task" in given:
        typed["task"] = given["task"]
    typed["tokenizer"] = str(settings.encoder)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    described = {**described, "init_args": described["init_args"] | typed}
    config = parser.parse_object({"data": described})
    data: LightningDataModule = parser.instantiate_classes(config).data
    if isinstance(data, LabelledDataModule):
        try:
            data.locate()
        except DataError as error:
            raise Absent(str(error)) from error
    return data


def run_task(
    settings: SuiteSettings, task: SuiteTask, *, seeds: Sequence[int], models: Sequence[Model]
) -> bool:
    """Run what of a task is not done yet.

    Args:
        settings: What all runs share.
        task: The task.
        seeds: Seeds of data order and random weights.
        models: Encoders to fine-tune: the given one and the control.

    Returns:
        Whether it was trained on dev.

    Raises:
        Absent: If its data or configuration are not there.
        BioteError: If something cannot be used.
    """
    on_dev = False
    try:
        data = open_data(settings, task, task.tests[0], train_on_dev=False)
    except Absent:
        if not (settings.train_on_dev and settings.suite.has_dev):
            raise
        data = open_data(settings, task, task.tests[0], train_on_dev=True)
        on_dev = True
    tests = [task.tests[0], *_present(settings, task, on_dev)]
    leaks = logging.getLogger(biote.datamodules.published.__name__)
    try:
        for seed in seeds:
            for model in models:
                folder = task_folder(settings, task) / model / f"seed{seed}"
                _run(settings, task, tests, data, folder, seed=seed, model=model, on_dev=on_dev)
                leaks.setLevel(logging.WARNING)  # told once, not again for every run
        _baselines(settings, task, tests, on_dev=on_dev)
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split()), where=task.name) from error
    except DataError as error:
        if error.mend is not None and "biote download" in error.mend:
            raise Absent(str(error)) from error
        raise
    finally:
        leaks.setLevel(logging.NOTSET)
    return on_dev


def _present(settings: SuiteSettings, task: SuiteTask, on_dev: bool) -> list[SuiteTest]:
    """The further test sets that are there."""
    found = []
    for test in task.tests[1:]:
        try:
            open_data(settings, task, test, train_on_dev=on_dev)
        except Absent as absent:
            logger.info("%s, %s is absent: %s", task.name, test.split, absent)
        else:
            found.append(test)
    return found


def _run(
    settings: SuiteSettings,
    task: SuiteTask,
    tests: Sequence[SuiteTest],
    data: LightningDataModule,
    folder: Path,
    *,
    seed: int,
    model: Model,
    on_dev: bool,
) -> None:
    options = _options(settings, task, folder, seed=seed, model=model, on_dev=on_dev)
    request = _request(settings, task, data, options)
    splits = [test.split for test in tests]
    if _read(folder / _REQUEST) != request:
        if folder.exists():
            logger.info("%s: settings, encoder or data have changed, so it is run anew.", folder)
            shutil.rmtree(folder)
    elif _read(folder / _DONE) == {"tested": splits}:
        logger.info("%s is done.", folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _REQUEST, request)
    if not (folder / _DONE).is_file():
        BioteCLI("fit", [*options, *_data_options(settings, task, tests[0], on_dev),
                         "--ckpt_path", "auto"])  # fmt: skip
        _write(folder / _DONE, {"tested": []})
    for test in tests:
        BioteCLI("test", [*options, *_data_options(settings, task, test, on_dev),
                          "--baselines", "false"])  # fmt: skip
    _write(folder / _DONE, {"tested": splits})


def _options(
    settings: SuiteSettings, task: SuiteTask, folder: Path, *, seed: int, model: Model, on_dev: bool
) -> list[str]:
    """Options of fit and test, those of the data left out."""
    wide = settings.stored.encoder.width > _MEDIUM_WIDTH
    options = ["--config", str(shipped_configs() / task.config)]
    if settings.suite.long_steps is not None and wide:
        options += ["--trainer.max_steps", str(settings.suite.long_steps)]
    if task.monitor is not None:
        options += ["--checkpoint.monitor", task.monitor]
    if settings.quick:
        options += ["--config", str(shipped_configs() / "trainer" / "quick.yaml")]
    for config in settings.configs:
        options += ["--config", config]
    if settings.patience is not None:
        checkpoint = _content(task)["checkpoint"]
        stop = {
            "class_path": "lightning.pytorch.callbacks.EarlyStopping",
            "init_args": {
                "monitor": task.monitor or checkpoint["monitor"],
                "mode": checkpoint["mode"],
                "patience": settings.patience,
            },
        }
        options += ["--trainer.callbacks+", json.dumps(stop)]
    weights = "pretrained" if model == "encoder" else "random"
    return [
        *options,
        "--trainer.default_root_dir", str(folder),
        "--model.encoder_checkpoint", str(settings.encoder),
        "--model.encoder_weights", weights,
        "--model.init_seed", str(seed),
        "--seed_everything", str(seed),
        "--export.folder", "null",
        "--data.seed", str(seed),
    ]  # fmt: skip


def _data_options(
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, on_dev: bool
) -> list[str]:
    given = data_arguments(settings, task, test, train_on_dev=on_dev)
    return [word for name, value in given.items() for word in (f"--data.{name}", value)]


def _request(
    settings: SuiteSettings, task: SuiteTask, data: LightningDataModule, options: Sequence[str]
) -> dict[str, Any]:
    """What a run is of; where it differs, the run is another."""
    files = [word for before, word in pairwise(options) if before == "--config"]
    texts = "".join(Path(path).read_text() for path in files)
    kept = [word for word in options if word not in files and word != str(settings.encoder)]
    fingerprint: Any = data
    return {
        "task": task.name,
        "configs": hashlib.sha256(texts.encode()).hexdigest(),
        "options": kept,
        "encoder": settings.stored.weights_fingerprint,
        "tokenizer": settings.stored.tokenizer_fingerprint,
        "split": str(fingerprint.split_fingerprint),
    }


def _baselines(
    settings: SuiteSettings, task: SuiteTask, tests: Sequence[SuiteTest], *, on_dev: bool
) -> None:
    """Compute the baselines of every test set once."""
    folder = task_folder(settings, task) / "baselines"
    done: set[tuple[str, str]] = set()
    if (folder / RESULTS_FILE).is_file():
        there = read_results([folder])
        done = set(zip(there["split"], there["data_fingerprint"], strict=True))
    for test in tests:
        data = open_data(settings, task, test, train_on_dev=on_dev)
        if not isinstance(data, LabelledDataModule):
            continue
        if (test.split, data.data_fingerprint) in done:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        trivial_rows(data, _example(settings, task, test), folder)


def _example(settings: SuiteSettings, task: SuiteTask, test: SuiteTest) -> ResultRow:
    """A result of the test set, from any run."""
    results = read_results(run_folders(settings, task)).filter(pl.col("split") == test.split)
    return ResultRow(**results.row(0, named=True))


def _content(task: SuiteTask) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((shipped_configs() / task.config).read_text())
    return content


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
