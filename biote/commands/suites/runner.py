"""Runs of one task: fine-tune, test on every test set, compare, and go on where it stopped."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from lightning import LightningDataModule
from lightning.fabric.utilities.exceptions import MisconfigurationException

import biote.datamodules.published
from biote.atomic import write_text_atomic
from biote.commands.comparison import trivial_rows
from biote.commands.lightning_cli import BioteCLI
from biote.commands.parsing import shipped_configs
from biote.commands.suites.catalogue import SuiteTask, SuiteTest
from biote.commands.suites.data import (
    Absent,
    SuiteSettings,
    content_digest,
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
    request = _request(settings, task, data)
    _settle_other_runs(settings, task_folder(settings, task), request)
    tests = [(test, _tested(settings, task, test, train_on)) for test in (task.tests[0], *further)]
    leaks = logging.getLogger(biote.datamodules.published.__name__)
    try:
        wanted = [(model, seed) for seed in seeds for model in models]
        for model, seed in dict.fromkeys([*wanted, *_runs_there(settings, task)]):
            folder = task_folder(settings, task) / model / f"seed{seed}"
            _run(settings, task, tests, request, folder, seed=seed, model=model, train_on=train_on)
            leaks.setLevel(logging.WARNING)  # told once, not again for every run
        _baselines(settings, task, tests, request, train_on=train_on)
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split()), where=task.name) from error
    except DataError as error:
        if error.mend is not None and "biote download" in error.mend:
            raise Absent(str(error)) from error
        raise
    finally:
        leaks.setLevel(logging.NOTSET)
    return absent


def _settle_other_runs(settings: SuiteSettings, folder: Path, request: Mapping[str, Any]) -> None:
    """Make sure that all runs of a task are of one protocol: a table would mix them.

    Raises:
        ConfigError: If a run is of another, and runs may not be replaced.
    """
    for path in sorted(folder.glob(f"**/{_REQUEST}")):
        there = _read(path)
        differing = [name for name in request if there.get(name) != request[name]]
        if not differing:
            continue
        if not settings.overwrite:
            raise ConfigError(
                f"{path.parent} is a run with other {', '.join(differing)}",
                where="--output",
                mend="name another folder, or replace it with --overwrite",
            )
        logger.info("%s has other %s and is removed.", path.parent, ", ".join(differing))
        shutil.rmtree(path.parent)


def _runs_there(settings: SuiteSettings, task: SuiteTask) -> list[tuple[Model, int]]:
    """Finished runs; what they were tested on may have changed since."""
    models: tuple[Model, ...] = ("encoder", "random")
    return [
        (model, int(path.parent.name.removeprefix("seed")))
        for model in models
        for path in sorted((task_folder(settings, task) / model).glob(f"seed*/{_DONE}"))
    ]


def _tested(settings: SuiteSettings, task: SuiteTask, test: SuiteTest, train_on: str | None) -> str:
    """Fingerprint of the data that a test set is tested with."""
    data: Any = open_data(settings, task, test, train_on=train_on)
    return str(data.data_fingerprint)


def _run(
    settings: SuiteSettings,
    task: SuiteTask,
    tests: Sequence[tuple[SuiteTest, str]],
    request: Mapping[str, Any],
    folder: Path,
    *,
    seed: int,
    model: Model,
    train_on: str | None,
) -> None:
    options = _options(settings, task, folder, seed=seed, model=model)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _REQUEST, request)
    if not (folder / _DONE).is_file():
        first, _ = tests[0]
        BioteCLI("fit", [*options, *_data_options(settings, task, first, train_on),
                         "--ckpt_path", "auto"])  # fmt: skip
        _write(folder / _DONE, {"tested": {}})
    done: dict[str, str] = _read(folder / _DONE)["tested"]
    for test, fingerprint in tests:
        if done.get(test.split) == fingerprint:
            logger.info("%s is tested on %s.", folder, test.split)
            continue
        BioteCLI("test", [*options, *_data_options(settings, task, test, train_on),
                          "--baselines", "false"])  # fmt: skip
        done[test.split] = fingerprint
        _write(folder / _DONE, {"tested": done})


def _protocol(settings: SuiteSettings, task: SuiteTask) -> list[str]:
    """Options that all runs of a task share."""
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
                # A score that is not defined yet, of constant predictions, is no end of a run.
                "check_finite": False,
            },
        }
        options += ["--trainer.callbacks+", json.dumps(stop)]
    return options


def _options(
    settings: SuiteSettings, task: SuiteTask, folder: Path, *, seed: int, model: Model
) -> list[str]:
    """Options of fit and test, those of the data left out."""
    weights = "pretrained" if model == "encoder" else "random"
    return [
        *_protocol(settings, task),
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


def _request(settings: SuiteSettings, task: SuiteTask, data: LightningDataModule) -> dict[str, Any]:
    """What the runs of a task are of, seed and model left out; no word of where they are."""
    options = _protocol(settings, task)
    files = [word for before, word in pairwise(options) if before == "--config"]
    described: Any = data
    return {
        "task": task.name,
        "configs": content_digest(files),
        "options": [word for word in options if word not in files and word != "--config"],
        "encoder": settings.stored.weights_fingerprint,
        "tokenizer": settings.stored.tokenizer_fingerprint,
        "data": str(described.split_fingerprint),
    }


def _baselines(
    settings: SuiteSettings,
    task: SuiteTask,
    tests: Sequence[tuple[SuiteTest, str]],
    request: Mapping[str, Any],
    *,
    train_on: str | None,
) -> None:
    """Compute the baselines of every test set once."""
    folder = task_folder(settings, task) / "baselines"
    done: set[tuple[str, str]] = set()
    if (folder / RESULTS_FILE).is_file():
        there = read_results([folder])
        done = set(zip(there["split"], there["data_fingerprint"], strict=True))
    for test, fingerprint in tests:
        if (test.split, fingerprint) in done:
            continue
        data = open_data(settings, task, test, train_on=train_on)
        if not isinstance(data, LabelledDataModule):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _REQUEST, request)
        example = replace(_example(settings, task, test, fingerprint), seed=data.seed)
        trivial_rows(data, example, folder)


def _example(
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, fingerprint: str
) -> ResultRow:
    """A result of the test set, from any run."""
    results = read_results(run_folders(settings, task)).filter(
        split=test.split, data_fingerprint=fingerprint
    )
    return ResultRow(**results.row(0, named=True))


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_text_atomic(path, json.dumps(content, indent=2) + "\n")
