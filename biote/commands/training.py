"""fit, validate, test and predict: what is printed and compared when they are done."""

from __future__ import annotations

import logging
import warnings

from lightning.fabric.utilities.exceptions import MisconfigurationException

from biote.commands.comparison import trivial_rows
from biote.commands.control import composition_rows, random_encoder_rows
from biote.commands.lightning_cli import BioteCLI
from biote.commands.specificity_rows import (
    print_specificity,
    specificity_rows,
    write_variants,
)
from biote.commands.tables import print_masked_lm, print_results
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.jaspar import JasparDataModule
from biote.errors import ConfigError
from biote.report.clip import cosine_figure
from biote.tasks.clip import ClipTask
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.results import PREDICTIONS_FILE, RESULTS_FILE, ResultRow
from biote.tasks.stopping import Stopped

logger = logging.getLogger(__name__)

COSINE_FIGURE = "cosines.png"


def run(command: str, arguments: list[str]) -> None:
    """Run a training command and print its results.

    Args:
        command: fit, validate, test or predict.
        arguments: Its options.

    Raises:
        BioteError: On any mistake in configuration, data or checkpoint.
    """
    try:
        cli = launch(command, arguments)
    except Stopped as stopped:
        logger.info("%s. Go on with --ckpt_path last.", stopped)
        return
    if not cli.trainer.is_global_zero:
        return
    if isinstance(cli.model, MaskedLMTask):
        print_masked_lm(cli.model.summaries())
    elif command == "test" and isinstance(cli.datamodule, JasparDataModule):
        write_variants(cli.datamodule, cli.run_folder)
        specificity_rows(cli.run_folder, cli.rows)
        print_specificity(cli.run_folder)
    elif command == "test":
        rows = compared_rows(cli)
        if isinstance(cli.model, ClipTask):
            folder = cli.run_folder
            cosine_figure(
                folder / COSINE_FIGURE,
                predictions=folder / PREDICTIONS_FILE,
                results=folder / RESULTS_FILE,
                subtitle=rows[0].benchmark,
            )
        print_results(rows, items=getattr(cli.model, "scored_items", "rows"))


def launch(command: str, arguments: list[str]) -> BioteCLI:
    """Run a training command and print nothing.

    Args:
        command: fit, validate, test or predict.
        arguments: Its options.

    Returns:
        The command that has run, with its trainer, model and data.

    Raises:
        BioteError: On any mistake in configuration, data or checkpoint.
        Stopped: If a signal ended the training, which has saved itself.
    """
    quiet()
    try:
        return BioteCLI(command, arguments)
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def compared_rows(cli: BioteCLI) -> list[ResultRow]:
    """Results of a test beside those of its baselines, which are computed and written.

    Args:
        cli: The test that has run, on the first process.
    """
    rows = cli.rows
    if isinstance(cli.model, ClipTask):
        return [*rows, *random_encoder_rows(cli), *composition_rows(cli)]
    if not cli.wants_baselines or not isinstance(cli.datamodule, LabelledDataModule):
        return rows
    return [
        *rows,
        *trivial_rows(cli.datamodule, rows[0], cli.run_folder),
        *random_encoder_rows(cli),
    ]


def quiet() -> None:
    """Silence what Lightning says to everyone and biote's users can do nothing about."""
    for pattern in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*LightningCLI's args parameter is intended to run.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*smaller than the logging interval.*",
        ".*The dirpath has changed from.*",  # a model of one run tested in the folder of another
        ".*will save all targets and predictions in the buffer.*",
        ".*module\\(s\\) in eval mode.*",  # a frozen encoder is meant to be
        ".*Total length of `list` across ranks is zero.*",  # a run without validation
        ".*The variance of predictions or target is close to zero.*",
    ):
        warnings.filterwarnings("ignore", message=pattern)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "💡" not in record.getMessage()
    )
