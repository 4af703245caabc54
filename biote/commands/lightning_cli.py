"""LightningCLI with biote's defaults, checks and errors."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from rich.console import Console

import biote.datamodules
import biote.modules.heads
import biote.tasks
from biote.commands.parsing import raise_one_line
from biote.commands.runs import (
    AUTO,
    CHECKPOINTS,
    begin_anew,
    begins_anew,
    checkpoint_to_evaluate,
    checkpoint_to_resume,
    make_run_folder,
)
from biote.datamodules.base import LabelledDataModule
from biote.errors import BioteError, ConfigError
from biote.tasks.activations import ActivationStatistics
from biote.tasks.checkpointing import LastCheckpoint
from biote.tasks.export import EncoderExport
from biote.tasks.gradients import GradientNorm
from biote.tasks.guard import LossGuard
from biote.tasks.results import ResultRow, ResultsWriter
from biote.tasks.run_record import RunRecord
from biote.tasks.sharding import AnyCheckpointIO, ShardedStrategy
from biote.tasks.stopping import StopOnSignal
from biote.tasks.throughput import Throughput

logger = logging.getLogger(__name__)

# The texts under the fields of settings classes become --help.
set_parsing_settings(docstring_parse_attribute_docstrings=True)

CONFIG_FILE = "config.yaml"
_KNOWN_CLASSES = {
    "model": biote.tasks.__all__,
    "data": [name for name in biote.datamodules.__all__ if name.endswith("DataModule")],
    "model.head": [
        name
        for name in biote.modules.heads.__all__
        if name.endswith("Head") and not inspect.isabstract(getattr(biote.modules.heads, name))
    ],
}
_TRAINING_KEYS = ("seed_everything", "trainer", "model", "data", "checkpoint", "last_checkpoint")


class TrainingParser(LightningArgumentParser):
    """LightningCLI's parser with errors of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise_one_line(self, message, ex, _KNOWN_CLASSES)


class RunConfig(SaveConfigCallback):
    """Writes the whole configuration of a training run into its folder, as ``config.yaml``."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        # What was continued from or replaced is no part of what a run is.
        config = self.config.clone()
        config.ckpt_path, config.overwrite = None, False
        self.parser.save(
            config, folder / CONFIG_FILE, skip_unset=False, overwrite=True, multifile=False
        )


class BioteCLI(LightningCLI):
    """One training command.

    Args:
        command: fit, validate, test or predict.
        arguments: Its options.
    """

    def __init__(self, command: str, arguments: list[str]) -> None:
        self._command = command
        super().__init__(
            save_config_callback=RunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={
                "default_root_dir": "runs/biote",
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,  # the datamodules deal rows and windows out
            },
            seed_everything_default=0,
            parser_class=TrainingParser,
            parser_kwargs={"prog": "biote"},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=[command, *arguments],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one command that runs: building parsers for the others takes seconds."""
        every = LightningCLI.subcommands()
        return {self._command: every[self._command]}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> Any:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand in ("test", "validate"):
            parser.set_defaults({"verbose": False})  # biote prints a table of its own
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
                "checkpoint.auto_insert_metric_name": False,
            }
        )
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(EncoderExport, "export")
        parser.add_lightning_class_args(ResultsWriter, "results")
        parser.add_lightning_class_args(Throughput, "throughput")
        parser.add_lightning_class_args(GradientNorm, "gradients")
        parser.add_lightning_class_args(LossGuard, "guard")
        parser.add_lightning_class_args(ActivationStatistics, "activations")
        parser.add_lightning_class_args(RunRecord, "run_record")
        parser.add_argument(
            "--baselines",
            type=bool,
            default=True,
            help="Whether biote test compares with baselines on the same split: train mean, ridge "
            "on k-mers and, where a pre-trained encoder is tested, the same one with random "
            "weights, fine-tuned alike.",
        )
        parser.add_argument(
            "--overwrite",
            type=bool,
            default=False,
            help="Whether biote fit may replace the checkpoints and results of an earlier run in "
            "the run folder.",
        )
        parser.link_arguments(
            "data.vocab_size", "model.init_args.vocab_size", apply_on="instantiate"
        )
        parser.link_arguments("data.n_outputs", "model.init_args.n_outputs", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: no hyper-parameters of a checkpoint overrule the YAML."""

    def complete_config(self) -> None:
        """Fill in what follows from other settings: where checkpoints go, the tokenizer."""
        config = self.config[self._command]
        root = Path(config.trainer.default_root_dir)
        for callback in (config.checkpoint, config.last_checkpoint):
            if callback.dirpath is None:
                callback.dirpath = str(root / CHECKPOINTS)
        _fill_tokenizer(config)

    def before_instantiate_classes(self) -> None:
        self.complete_config()
        config = self.config[self._command]
        root = Path(config.trainer.default_root_dir)
        precision = config.trainer.precision
        _check_sharded_precision(config.trainer)
        if precision in ("16-true", "bf16-true"):
            raise ConfigError(
                f"{precision} would round weights and targets",
                where="trainer.precision",
                mend="use bf16-mixed, or 32-true",
            )
        make_run_folder(root)
        if self._command != "fit":
            config.ckpt_path = checkpoint_to_evaluate(config.get("ckpt_path"), root)
        elif begins_anew(config.get("ckpt_path"), root):
            config.ckpt_path = None
            if not config.trainer.fast_dev_run:
                begin_anew(root, overwrite=config.overwrite)
        else:
            given = "last" if config.ckpt_path == AUTO else config.ckpt_path
            config.ckpt_path = checkpoint_to_resume(given, root)

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; jsonargparse wraps their errors, the user sees ours."""
        try:
            super().instantiate_classes()
        except BioteError:
            raise
        except Exception as error:
            cause = _own_error(error)
            if cause is None:
                raise
            raise cause from error

    def after_instantiate_classes(self) -> None:
        if self._command == "fit":
            self.model.training_config = self.training_config

    def before_fit(self) -> None:
        """Refuse a checkpoint that would be chosen by a metric nobody computes, or never saved.

        Raises:
            ConfigError: If the monitored metric is unknown, there is no validation split, or the
                last weights count and the last step is not one that is saved.
        """
        config = self.config[self._command]
        monitor = config.checkpoint.monitor
        if monitor is None:
            every, steps = config.checkpoint.every_n_train_steps, config.trainer.max_steps
            if every and steps > 0 and steps % every and not config.trainer.fast_dev_run:
                raise ConfigError(
                    f"weights are saved every {every} steps, which leaves out the last of {steps}",
                    where="checkpoint.every_n_train_steps",
                    mend="give a divisor of trainer.max_steps: the last weights are tested",
                )
            return
        if monitor not in self.model.monitored:
            raise ConfigError(
                f"{type(self.model).__name__} computes no {monitor!r}",
                where="checkpoint.monitor",
                mend=f"give one of {', '.join(self.model.monitored)}",
            )
        data = self.datamodule
        if isinstance(data, LabelledDataModule) and not data.rows("validation"):
            raise ConfigError(
                f"there is no validation row to compute {monitor} on",
                where="checkpoint.monitor",
                mend="set it to null: the last weights are then tested",
            )

    def before_test(self) -> None:
        """Refuse a comparison that cannot be made, before time is spent on the test.

        Raises:
            ConfigError: If a control had to be trained from within several processes.
        """
        if self.wants_control and self.trainer.world_size > 1:
            raise ConfigError(
                "the control with random weights cannot be trained from within several processes",
                where="--baselines",
                mend="run biote test on one process, or with --baselines false",
            )

    @property
    def wants_control(self) -> bool:
        """Whether the same encoder with random weights is to be trained for comparison."""
        return self.wants_baselines and getattr(self.model, "starts_pretrained", False)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        # In a log file a bar is a heap of fragments: there, Throughput writes lines instead.
        if config.get("enable_progress_bar") is None:
            config["enable_progress_bar"] = Console().is_terminal
        if self._command != "fit" and config.get("logger") in (None, True):
            config["logger"] = False  # its figures, all at step 0, would stand in the run's curves
        config["plugins"] = _plugins(config)
        if config["enable_progress_bar"]:
            callbacks = [*callbacks, RichProgressBar()]
        if self._command == "fit":
            callbacks = [*callbacks, StopOnSignal()]
        trainer: Trainer = super()._instantiate_trainer(config, callbacks)
        return trainer

    @property
    def config_text(self) -> str:
        """The configuration of the command as YAML."""
        return str(self._parser(self._command).dump(self.config[self._command], skip_unset=False))

    @property
    def training_config(self) -> str:
        """What of the configuration a training run would take, as YAML."""
        content = yaml.safe_load(self.config_text)
        return yaml.safe_dump({name: content[name] for name in _TRAINING_KEYS})

    @property
    def wants_baselines(self) -> bool:
        """Whether a test is to be compared with baselines."""
        evaluates_only = getattr(self.datamodule, "evaluates_only", False)
        return bool(self.config[self._command].baselines) and not evaluates_only

    @property
    def run_folder(self) -> Path:
        """Where the run writes."""
        return Path(self.trainer.default_root_dir)

    @property
    def rows(self) -> list[ResultRow]:
        """Results of the test that has run."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return next(list(c.rows) for c in callbacks if isinstance(c, ResultsWriter))


class RequestedRun(BioteCLI):
    """The configuration of a training run, parsed and completed; nothing is built or run.

    Args:
        arguments: Options of ``biote fit``.
    """

    def __init__(self, arguments: list[str]) -> None:
        super().__init__("fit", arguments)

    def before_instantiate_classes(self) -> None:
        self.complete_config()

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def after_instantiate_classes(self) -> None:
        """There is nothing to tell the model."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def _check_sharded_precision(trainer: Namespace) -> None:
    """Refuse a precision of the trainer beside that of the sharded strategy.

    Raises:
        ConfigError: If there is one: it would gather float32 weights.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, Namespace) or not strategy.class_path.endswith("ShardedStrategy"):
        return
    if trainer.precision not in (None, 32, "32", "32-true"):
        raise ConfigError(
            f"{trainer.precision} beside ShardedStrategy",
            where="trainer.precision",
            mend="set it to 32-true, and trainer.strategy.init_args.precision to bf16 or float32",
        )


def _plugins(config: dict[str, Any]) -> list[Any] | None:
    """The trainer's plugins, with one that reads checkpoints of sharded runs on one process."""
    given = config.get("plugins") or []
    plugins = list(given) if isinstance(given, list) else [given]
    if isinstance(config.get("strategy"), ShardedStrategy):
        return plugins or None  # it reads and writes by itself
    for plugin in plugins:
        if isinstance(plugin, AsyncCheckpointIO) and plugin.checkpoint_io is None:
            plugin.checkpoint_io = AnyCheckpointIO()
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(AnyCheckpointIO())
    return plugins


def _own_error(error: BaseException) -> BioteError | None:
    """The error of ours that another one was raised from, if any."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, BioteError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _fill_tokenizer(config: Namespace) -> None:
    """Data without a tokenizer takes the one of the encoder it feeds."""
    model, data = config.model.get("init_args"), config.data.get("init_args")
    if data is None or model is None:
        return
    for tokenizer, encoder in (
        ("tokenizer", "encoder_checkpoint"),
        ("protein_tokenizer", "protein_encoder_checkpoint"),
    ):
        if tokenizer in data and data[tokenizer] is None and model.get(encoder) is not None:
            data[tokenizer] = model[encoder]
    second = model.get("nucleic_encoder")
    if second is not None and data.get("nucleic_tokenizer") is None:
        data.nucleic_tokenizer = second.encoder_checkpoint
