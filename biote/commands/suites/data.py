"""The data of a suite's tasks: what their YAMLs say together, and which files are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule

from biote.commands.parsing import shipped_configs
from biote.commands.suites.catalogue import Suite, SuiteTask, SuiteTest
from biote.datamodules.base import LabelledDataModule
from biote.errors import ConfigError, DataError
from biote.modules.weights import StoredEncoder


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
    drop_leaks: bool
    stand_ins: bool
    """Whether tasks without training file are trained on what stands in for it."""

    patience: int | None
    configs: tuple[str, ...]
    """Further YAML of the user, the last to count."""

    overwrite: bool
    """Whether runs of other settings or data are replaced."""


def task_configs(settings: SuiteSettings, task: SuiteTask) -> list[Path]:
    """YAMLs of a task."""
    names = task.quick if settings.quick and task.quick else task.configs
    return [shipped_configs() / name for name in names]


def task_content(settings: SuiteSettings, task: SuiteTask) -> dict[str, Any]:
    """What the YAMLs of a task and the user's say together."""
    content: dict[str, Any] = {}
    for path in (*task_configs(settings, task), *map(Path, settings.configs)):
        content = _completed(content, yaml.safe_load(path.read_text()) or {})
    return content


def content_digest(paths: Sequence[str | Path]) -> str:
    """SHA-256 over what YAMLs say, in their order; comments and layout count nothing.

    Args:
        paths: YAML files.

    Raises:
        ConfigError: If one cannot be read.
    """
    try:
        contents = [yaml.safe_load(Path(path).read_text()) or {} for path in paths]
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            " ".join(str(error).split()), where="--config", mend="name YAML files"
        ) from error
    text = json.dumps(contents, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _completed(content: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A YAML with what a later one says."""
    return content | {
        key: _completed(content[key], value)
        if isinstance(value, dict) and isinstance(content.get(key), dict)
        else value
        for key, value in more.items()
    }


def data_arguments(
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, *, train_on: str | None
) -> dict[str, str]:
    """What a task says of its data beside its YAML."""
    arguments = {"root": str(settings.data), **task.data, **test.data}
    if settings.drop_leaks:
        arguments["drop_leaks"] = "true"
    if train_on is not None:
        arguments["train_on"] = train_on
    config = task_content(settings, task)["data"]["init_args"]
    if config.get("context", 0) > settings.stored.encoder.context:
        arguments["context"] = str(settings.stored.encoder.context)
    return arguments


def open_data(
    settings: SuiteSettings, task: SuiteTask, test: SuiteTest, *, train_on: str | None
) -> LightningDataModule:
    """The data of a task, nothing read yet.

    Raises:
        Absent: If its files are not there.
        BioteError: If the configuration cannot be used.
    """
    described = task_content(settings, task)["data"]
    given = data_arguments(settings, task, test, train_on=train_on)
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


def training_set(settings: SuiteSettings, task: SuiteTask) -> str | None:
    """What stands in for the training file; null where it is there.

    Raises:
        Absent: If neither is there.
    """
    try:
        open_data(settings, task, task.tests[0], train_on=None)
    except Absent:
        for stand_in in task.stand_ins if settings.stand_ins else ():
            try:
                open_data(settings, task, task.tests[0], train_on=stand_in)
            except Absent:
                continue
            return stand_in
        raise
    return None


def further_tests(
    settings: SuiteSettings, task: SuiteTask, train_on: str | None
) -> tuple[list[SuiteTest], dict[str, str]]:
    """The further test sets that are there, and why the others are not."""
    found = []
    absent = {}
    for test in task.tests[1:]:
        try:
            open_data(settings, task, test, train_on=train_on)
        except Absent as reason:
            absent[test.split] = str(reason)
        else:
            found.append(test)
    return found, absent
