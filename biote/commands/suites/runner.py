"""Runs of one task: fine-tune, test on every test set, compare, and go on where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from lightning import LightningDataModule
from lightning.fabric.utilities.exceptions import MisconfigurationException

import biote.datamodules.published
from biote.atomic import atomic_path
from biote.commands.comparison import trivial_rows
from biote.commands.lightning_cli import BioteCLI
from biote.commands.parsing import shipped_configs
from biote.commands.suites.catalogue import SuiteTask, SuiteTest
from biote.commands.suites.data import (
    Absent,
    SuiteSettings,
    data_arguments,
    further_tests,
    open_data,
    task_configs,
    task_content,
    training_set,
)
from biote.datamodules.base import LabelledDataModule
from biote.errors import ConfigError, DataError
from biote.tasks.results import RESULTS_FILE, ResultRow, read_results

logger = logging.getLogger(__name__)

Model = Literal["encoder", "random"]
_REQUEST: Final = "requested.json"
_DONE: Final = "done.json"
_MEDIUM_WIDTH: Final = 2048
"""Widest encoder that the paper trains for the shorter number of steps."""


def task_folder(settings: SuiteSettings, task: SuiteTask) -> Path:
    """Folder of all runs of a task."""
    return settings.output / task.name.replace("/", "_")


def run_folders(settings: SuiteSettings, task: SuiteTask) -> list[Path]:
    """Folders of a task that hold results."""
    found = task_folder(settings, task).glob(f"**/{RESULTS_FILE}")
    return sorted(path.parent for path in found)


def run_task(
    settings: SuiteSettings, task: SuiteTask, *, seeds: Sequence[int], models: Sequence[Model]
) -> dict[str, str]:
    """Run what of a task is not done yet.

    Args:
        settings: What all runs share.
        task: The task.
        seeds: Seeds of data order and random weights.
        models: Encoders to fine-tune: the given one and the control.

    Returns:
        Why a test set beside the first is absent, by its name.

    Raises:
        Absent: If its data are not there.
        BioteError: If something cannot be used.
    """
    train_on = training_set(settings, task)
    data = open_data(settings, task, task.tests[0], train_on=train_on)
    further, absent = further_tests(settings, task, train_on)
    split = _split(data)
    _forget_other_data(task_folder(settings, task), split)
    tests = [task.tests[0], *further]
    leaks = logging.getLogger(biote.datamodules.published.__name__)
    try:
        for seed in seeds:
            for model in models:
                folder = task_folder(settings, task) / model / f"seed{seed}"
                _run(settings, task, tests, data, folder, seed=seed, model=model, train_on=train_on)
                leaks.setLevel(logging.WARNING)  # told once, not again for every run
        _baselines(settings, task, tests, split, train_on=train_on)
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split()), where=task.name) from error
    except DataError as error:
        if error.mend is not None and "biote download" in error.mend:
            raise Absent(str(error)) from error
        raise
    finally:
        leaks.setLevel(logging.NOTSET)
    return absent


def _split(data: LightningDataModule) -> str:
    """What is trained and validated on."""
    described: Any = data
    return str(described.split_fingerprint)


def _forget_other_data(folder: Path, split: str) -> None:
    """Remove runs and baselines of other data: a table would mix them with those of today's."""
    for path in sorted(folder.glob(f"**/{_REQUEST}")):
        if _read(path)["split"] != split:
            logger.info("%s is of other data and is removed.", path.parent)
            shutil.rmtree(path.parent)


def _run(
    settings: SuiteSettings,
    task: SuiteTask,
    tests: Sequence[SuiteTest],
    data: LightningDataModule,
    folder: Path,
    *,
    seed: int,
    model: Model,
    train_on: str | None,
) -> None:
    options = _options(settings, task, folder, seed=seed, model=model, train_on=train_on)
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
        BioteCLI("fit", [*options, *_data_options(settings, task, tests[0], train_on),
                         "--ckpt_path", "auto"])  # fmt: skip
        _write(folder / _DONE, {"tested": []})
    for test in tests:
        BioteCLI("test", [*options, *_data_options(settings, task, test, train_on),
                          "--baselines", "false"])  # fmt: skip
    _write(folder / _DONE, {"tested": splits})


def _options(
    settings: SuiteSettings,
    task: SuiteTask,
    folder: Path,
    *,
    seed: int,
    model: Model,
    train_on: str | None,
) -> list[str]:
    """Options of fit and test, those of the data left out."""
    wide = settings.stored.encoder.width > _MEDIUM_WIDTH
    options = [word for path in task_configs(settings, task) for word in ("--config", str(path))]
    if settings.suite.long_steps is not None and wide:
        options += ["--trainer.max_steps", str(settings.suite.long_steps)]
    if task.monitor is not None:
        options += ["--checkpoint.monitor", task.monitor]
    if settings.quick:
        options += ["--config", str(shipped_configs() / "trainer" / "quick.yaml")]
    for config in settings.configs:
        options += ["--config", config]
    if settings.patience is not None:
        checkpoint = task_content(settings, task)["checkpoint"]
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
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, train_on: str | None
) -> list[str]:
    given = data_arguments(settings, task, test, train_on=train_on)
    return [word for name, value in given.items() for word in (f"--data.{name}", value)]


def _request(
    settings: SuiteSettings, task: SuiteTask, data: LightningDataModule, options: Sequence[str]
) -> dict[str, Any]:
    """What a run is of; where it differs, the run is another."""
    files = [word for before, word in pairwise(options) if before == "--config"]
    texts = "".join(Path(path).read_text() for path in files)
    kept = [word for word in options if word not in files and word != str(settings.encoder)]
    return {
        "task": task.name,
        "configs": hashlib.sha256(texts.encode()).hexdigest(),
        "options": kept,
        "encoder": settings.stored.weights_fingerprint,
        "tokenizer": settings.stored.tokenizer_fingerprint,
        "split": _split(data),
    }


def _baselines(
    settings: SuiteSettings,
    task: SuiteTask,
    tests: Sequence[SuiteTest],
    split: str,
    *,
    train_on: str | None,
) -> None:
    """Compute the baselines of every test set once."""
    folder = task_folder(settings, task) / "baselines"
    done: set[tuple[str, str]] = set()
    if (folder / RESULTS_FILE).is_file():
        there = read_results([folder])
        done = set(zip(there["split"], there["data_fingerprint"], strict=True))
    for test in tests:
        data = open_data(settings, task, test, train_on=train_on)
        if not isinstance(data, LabelledDataModule):
            continue
        if (test.split, data.data_fingerprint) in done:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _REQUEST, {"split": split})
        trivial_rows(data, _example(settings, task, test), folder)


def _example(settings: SuiteSettings, task: SuiteTask, test: SuiteTest) -> ResultRow:
    """A result of the test set, from any run."""
    results = read_results(run_folders(settings, task)).filter(pl.col("split") == test.split)
    return ResultRow(**results.row(0, named=True))


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
