"""Fine-tune and test an encoder on every task of a suite whose data are there.

The same command goes on with a suite that was interrupted. Tasks whose data are not there are
listed with the command that fetches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import jsonargparse

    from biote.commands.suites.catalogue import SuiteTask
    from biote.commands.suites.data import SuiteSettings
    from biote.commands.suites.runner import Model

_REQUEST_FILE: Final = "suite.json"
_DATA_VARIABLE: Final = "BIOTE_DATA"
_PIPE_WIDTH: Final = 160


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    from jsonargparse.typing import NonNegativeInt, PositiveInt

    parser.add_argument("suite", type=str, help="gue, tape or proteinglue")
    parser.add_argument("--encoder", type=Path, required=True, help="encoder folder")
    parser.add_argument(
        "--data",
        type=Path | None,
        default=None,
        help=f"folder with gue/, tape/ or proteinglue/; by default ${_DATA_VARIABLE}, or data",
    )
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="folder of runs and tables; by default runs/ and the name of the suite",
    )
    parser.add_argument(
        "--tasks",
        type=str,
        nargs="+",
        default=None,
        help="tasks to run, 'tf/0' or a whole group 'tf' say; by default all",
    )
    parser.add_argument(
        "--seeds",
        type=NonNegativeInt,
        nargs="+",
        default=[0],
        help="seeds of data order and random weights, a run each",
    )
    parser.add_argument("--quick", action="store_true", help="300 steps a task, for a first look")
    parser.add_argument(
        "--control",
        type=bool,
        default=True,
        help="also fine-tune the same encoder with random weights",
    )
    parser.add_argument(
        "--train-on-dev",
        action="store_true",
        help="train tasks whose training file is absent on what stands in for it: dev.csv of GUE, "
        "FLIP's chains or the validation set of TAPE's secondary structure; named so, and in no "
        "average",
    )
    parser.add_argument(
        "--drop-leaks",
        action="store_true",
        help="leave training rows out whose sequence is validated or tested on",
    )
    parser.add_argument(
        "--patience",
        type=PositiveInt | None,
        default=None,
        help="stop a run early after so many validations without a better one",
    )
    parser.add_argument(
        "--config",
        type=str,
        nargs="+",
        default=[],
        help="further YAML for every run, trainer/cpu.yaml say",
    )
    parser.add_argument(
        "--pretraining-tokens",
        type=PositiveInt | None,
        default=None,
        help="tokens of pre-training, where the encoder folder does not tell",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        help="outputs of the same suite with other encoders, for the plot",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace runs of another encoder, other settings or other data",
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Run the suite and write its table, aggregate and plot.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used, or a task failed; the others have
            been run then.
    """
    from rich.console import Console

    from biote.commands.parsing import find_shipped
    from biote.commands.suites.catalogue import SUITES
    from biote.commands.suites.data import Absent, SuiteSettings
    from biote.commands.suites.outputs import show_point, show_table
    from biote.commands.suites.runner import run_folders, run_task
    from biote.commands.suites.summary import summarise_task
    from biote.commands.training import quiet
    from biote.errors import BioteError, ConfigError
    from biote.modules.weights import load_encoder_config

    suite = SUITES.get(arguments.suite)
    if suite is None:
        raise ConfigError(f"no suite {arguments.suite!r}", mend=f"suites: {', '.join(SUITES)}")
    tasks = _chosen(suite.tasks, arguments.tasks)
    settings = SuiteSettings(
        suite=suite,
        encoder=arguments.encoder,
        stored=load_encoder_config(arguments.encoder),
        data=_data_folder(arguments.data),
        output=arguments.output or Path("runs") / suite.name,
        quick=arguments.quick,
        drop_leaks=arguments.drop_leaks,
        stand_ins=arguments.train_on_dev,
        patience=arguments.patience,
        configs=tuple(map(find_shipped, arguments.config)),
        overwrite=arguments.overwrite,
    )
    _begin(settings)
    quiet()
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    absent: dict[str, str] = {}
    failed: dict[str, str] = {}
    models: tuple[Model, ...] = ("encoder", "random") if arguments.control else ("encoder",)
    for task in tasks:
        console.rule(task.name)
        try:
            missing = run_task(settings, task, seeds=arguments.seeds, models=models)
            absent |= {f"{task.name}, {split}": reason for split, reason in missing.items()}
        except Absent as reason:
            absent[task.name] = str(reason)
            console.print(f"absent: {reason}", highlight=False, soft_wrap=True)
        except BioteError as error:
            failed[task.name] = str(error)
            console.print(f"failed: {error}", highlight=False, soft_wrap=True)
    summaries = [
        summary
        for task in suite.tasks
        for summary in summarise_task(task, run_folders(settings, task))
    ]
    show_table(settings, summaries, absent, console)
    show_point(settings, summaries, arguments.pretraining_tokens, arguments.compare, console)
    if failed:
        name, message = next(iter(failed.items()))
        raise BioteError(
            f"{len(failed)} of {len(tasks)} tasks failed, the first with: {message}", where=name
        )


def _data_folder(given: Path | None) -> Path:
    """The folder of all benchmarks."""
    import os

    from biote.errors import ConfigError

    folder = given or Path(os.environ.get(_DATA_VARIABLE) or "data")
    if not folder.is_dir():
        raise ConfigError(
            f"no folder {folder}",
            where="--data",
            mend=f"name it there or in {_DATA_VARIABLE}; biote download fills it",
        )
    return folder


def _chosen(tasks: Sequence[SuiteTask], names: Sequence[str] | None) -> list[SuiteTask]:
    """Tasks by name or group, in the order of the suite."""
    from biote.errors import ConfigError

    if names is None:
        return list(tasks)
    for name in names:
        if not any(_is(task, name) for task in tasks):
            raise ConfigError(
                f"no task {name!r}",
                where="--tasks",
                mend=f"tasks: {', '.join(task.name for task in tasks)}",
            )
    return [task for task in tasks if any(_is(task, name) for name in names)]


def _is(task: SuiteTask, name: str) -> bool:
    return task.name == name or task.name.startswith(f"{name}/")


def _begin(settings: SuiteSettings) -> None:
    """Make sure that one output holds one encoder in one protocol."""
    import json
    import shutil

    from biote.commands.suites.data import content_digest
    from biote.errors import ConfigError

    wanted = {
        "suite": settings.suite.name,
        "encoder": settings.stored.weights_fingerprint,
        "quick": settings.quick,
        "drop_leaks": settings.drop_leaks,
        "patience": settings.patience,
        "config": content_digest(settings.configs),
    }
    path = settings.output / _REQUEST_FILE
    there = json.loads(path.read_text()) if path.is_file() else None
    if there not in (None, wanted):
        if not settings.overwrite:
            differing = ", ".join(name for name in wanted if there.get(name) != wanted[name])
            raise ConfigError(
                f"{settings.output} holds a suite with another {differing}",
                where="--output",
                mend="name another folder, or replace it with --overwrite",
            )
        shutil.rmtree(settings.output)
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(
            f"{settings.output} cannot be written: {error.strerror}", where="--output"
        ) from error
